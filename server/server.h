/* The daemon as a whole: what every handler can reach. Made and taken apart by main.c. */
#ifndef REZEPTD_SERVER_H
#define REZEPTD_SERVER_H

#include "config.h"
#include "supervisor.h"

#include "tensor/path.h"

#include <stdatomic.h>

struct audit;
struct auth;
struct cache;
struct changes;
struct http;
struct metrics;
struct readers;
struct registry;
struct scorer;
struct tally;
struct writer;
struct rz_titles;

typedef struct server {
    config config;
    struct metrics *metrics;
    struct audit *audit;
    struct auth *auth;
    struct readers *readers;
    struct writer *writer;
    struct registry *registry;
    struct cache *cache;
    struct changes *changes;
    struct scorer *scorer;
    struct tally *tally;
    struct http *http;
    struct rz_titles *titles; /* NULL without a table */
    supervisor supervisor;
    atomic_bool draining;
    int64_t started_us;
    rz_tensor_path tensor; /* how models multiply here, and why */
} server;

#define SERVER_DISCLAIMER                                                                          \
    "Decision support for research use, not a diagnosis. A probability describes patients scored " \
    "alike, not this person."

#endif
