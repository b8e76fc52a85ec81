/*
 * Where offloaded connections come in: a provider that carries nothing and writes down what one that
 * programs devices begins with, the ports of both directions.
 */

#ifndef CTOFFLOAD_OVS_PORTS_H
#define CTOFFLOAD_OVS_PORTS_H

#include <stdint.h>

struct conntrack;
struct ds;
struct ports;

struct ports *ports_create(void);
int ports_register(struct ports *, struct conntrack *, long long now);
void ports_destroy(struct ports *);

/* Appends what the provider was told of a connection; nothing if it does not have it. */
void ports_format(struct ports *, uint64_t connection, struct ds *);

/* The name of the device behind a port of a datapath, to be freed; NULL if there is none. */
char *device_of_port(uint32_t port);

#endif
