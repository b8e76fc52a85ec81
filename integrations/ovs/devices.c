/*
 * The device behind a port. A tracker is not told of ports, and Open vSwitch keeps them where only somebody
 * who knows the datapath finds them: so the functions of this file stand in front of those with which a
 * datapath's ports are told to Open vSwitch's own offload (the linker's --wrap), and listen.
 *
 * Ports are told apart by number and type of datapath. A tracker knows numbers alone: of datapaths of two
 * types that are there at once either may answer.
 */

#include <config.h>

#include "dpif.h"
#include "hash.h"
#include "netdev.h"
#include "openvswitch/hmap.h"
#include "ovs-thread.h"
#include "util.h"

#if OVS_VERSION >= 400
#include "dpif-offload-provider.h"
#else
#include "netdev-offload.h"
#endif

#include "library.h"
#include "ports.h"

struct device {
    struct hmap_node node;      /* In `devices`, by `port`. */
    odp_port_t port;
    char *datapath;             /* Its type. */
    char *name;
};

static struct ovs_mutex mutex = OVS_MUTEX_INITIALIZER;
static struct hmap devices OVS_GUARDED_BY(mutex) = HMAP_INITIALIZER(&devices);

static struct device *
find(odp_port_t port, const char *datapath)
    OVS_REQUIRES(mutex)
{
    struct device *device;

    HMAP_FOR_EACH_WITH_HASH (device, node, hash_int(odp_to_u32(port), 0), &devices) {
        if (device->port == port && (!datapath || !strcmp(device->datapath, datapath))) {
            return device;
        }
    }
    return NULL;
}

static void
forget(odp_port_t port, const char *datapath)
    OVS_REQUIRES(mutex)
{
    struct device *device = find(port, datapath);

    if (device) {
        hmap_remove(&devices, &device->node);
        free(device->datapath);
        free(device->name);
        free(device);
    }
}

static void
port_added(const struct netdev *netdev, odp_port_t port, const char *datapath)
{
    struct device *device = xmalloc(sizeof *device);

    device->port = port;
    device->datapath = xstrdup(datapath);
    device->name = xstrdup(netdev_get_name(netdev));
    ovs_mutex_lock(&mutex);
    forget(port, datapath);
    hmap_insert(&devices, &device->node, hash_int(odp_to_u32(port), 0));
    ovs_mutex_unlock(&mutex);
}

static void
port_removed(odp_port_t port, const char *datapath)
{
    ovs_mutex_lock(&mutex);
    forget(port, datapath);
    ovs_mutex_unlock(&mutex);
}

char *
device_of_port(uint32_t port)
{
    const struct device *device;
    char *name;

    ovs_mutex_lock(&mutex);
    device = find(u32_to_odp(port), NULL);
    name = device ? xstrdup(device->name) : NULL;
    ovs_mutex_unlock(&mutex);
    return name;
}

/* --- in front of Open vSwitch's functions ------------------------------------------------------- */

#if OVS_VERSION >= 400

void __real_dpif_offload_port_add(struct dpif *, struct netdev *, odp_port_t);
void __wrap_dpif_offload_port_add(struct dpif *, struct netdev *, odp_port_t);
void __real_dpif_offload_port_del(struct dpif *, odp_port_t);
void __wrap_dpif_offload_port_del(struct dpif *, odp_port_t);

void
__wrap_dpif_offload_port_add(struct dpif *dpif, struct netdev *netdev, odp_port_t port)
{
    port_added(netdev, port, dpif_normalize_type(dpif_type(dpif)));
    __real_dpif_offload_port_add(dpif, netdev, port);
}

void
__wrap_dpif_offload_port_del(struct dpif *dpif, odp_port_t port)
{
    port_removed(port, dpif_normalize_type(dpif_type(dpif)));
    __real_dpif_offload_port_del(dpif, port);
}

#else

int __real_netdev_ports_insert(struct netdev *, struct dpif_port *);
int __wrap_netdev_ports_insert(struct netdev *, struct dpif_port *);
int __real_netdev_ports_remove(odp_port_t, const char *datapath);
int __wrap_netdev_ports_remove(odp_port_t, const char *datapath);

int
__wrap_netdev_ports_insert(struct netdev *netdev, struct dpif_port *port)
{
    port_added(netdev, port->port_no, netdev_get_dpif_type(netdev));
    return __real_netdev_ports_insert(netdev, port);
}

int
__wrap_netdev_ports_remove(odp_port_t port, const char *datapath)
{
    port_removed(port, datapath);
    return __real_netdev_ports_remove(port, datapath);
}

#endif
