/* The header and the library from C++: an owner of the handle, and an error on a thread that is ending. */
#include <ctoffload.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);  \
            std::exit(1);                                                         \
        }                                                                         \
    } while (0)

namespace {

struct Destroy {
    void operator()(conntrack *ct) const { conntrack_destroy(ct); }
};

int late_errors = 0;

/* Destroyed with its thread, perhaps after the library's own thread-local data. */
struct Late {
    bool armed = false;
    ~Late()
    {
        if (armed && conntrack_flush(nullptr, nullptr) == EINVAL && ct_last_error() != nullptr)
            late_errors++;
    }
};

thread_local Late late;

} // namespace

int main()
{
    conntrack *raw = nullptr;
    CHECK(conntrack_create(nullptr, &raw) == 0);
    std::unique_ptr<conntrack, Destroy> ct(raw);

    uint8_t datagram[29] = {0x45, 0, 0, 29, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
                            0x9c, 0x40, 0, 53, 0, 9, 0, 0, '?'};
    ct_packet packet = {};
    ct_action commit = {};
    commit.size = sizeof commit;
    commit.flags = CT_ACTION_COMMIT;
    packet.data = datagram;
    packet.length = sizeof datagram;
    packet.flags = CT_PACKET_IP_CSUM_GOOD;
    CHECK(conntrack_execute(ct.get(), &packet, 1, &commit, 0) == 0);
    CHECK(packet.ct_state == (CT_STATE_TRACKED | CT_STATE_NEW));

    std::thread([] {
        late.armed = true;
        CHECK(conntrack_flush(nullptr, nullptr) == EINVAL);
    }).join();
    CHECK(late_errors == 1);
    return 0;
}
