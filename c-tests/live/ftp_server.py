"""An FTP server on all addresses that takes uploads: ftp_server.py FOLDER (python3-pyftpdlib)."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

authorizer = DummyAuthorizer()
authorizer.add_anonymous(sys.argv[1], perm="elradfmw")
FTPHandler.authorizer = authorizer
FTPHandler.permit_foreign_addresses = False
FTPServer(("::", 21), FTPHandler).serve_forever()
