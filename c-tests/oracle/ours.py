"""The tracker of this project, asked through its own command."""

def replay(program, profile, packets):
    raise NotImplementedError
