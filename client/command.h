/* What the commands of `rezept` share: the options every command has, the connected client and
 * interruption. Each command lives in cmd_<name>.c and is a row in main.c. */
#ifndef REZEPT_CLIENT_COMMAND_H
#define REZEPT_CLIENT_COMMAND_H

#include "rezept_client.h"

#include "base/options.h"

#define DISCLAIMER "Decision support for research use, not a diagnosis."

typedef struct command {
    rz_options *options;
    rz_client *client;
    const char *const *operands; /* borrowed from argv */
    size_t n_operands;
    bool stop; /* --help was printed */
} command;

typedef rz_status command_fn(int argc, char *const *argv, rz_error *error);

command_fn cmd_push, cmd_risk, cmd_patients, cmd_models, cmd_tasks, cmd_health, cmd_delete,
    cmd_watch;

/* The rows every command's table starts with; `patience` is the default of --tries. */
#define COMMAND_OPTIONS_TRIES(patience)                                                            \
    {"url",                                                                                        \
     RZ_OPTION_TEXT,                                                                               \
     "http://127.0.0.1:8480",                                                                      \
     .group = "Server",                                                                            \
     .value = "URL",                                                                               \
     .help = "where rezeptd listens"},                                                             \
        {"token",                                                                                  \
         RZ_OPTION_SECRET,                                                                         \
         NULL,                                                                                     \
         .group = "Server",                                                                        \
         .value = "TOKEN",                                                                         \
         .help = "bearer token; better in REZEPT_TOKEN or --token-file"},                          \
        {"token-file",      RZ_OPTION_TEXT,  NULL,                                                 \
         .group = "Server", .value = "PATH", .help = "file that holds the token"},                 \
        {"timeout-s", RZ_OPTION_INT, "60", 1, 86400, "Server", "S", "limit of one try, seconds"},  \
        {"tries", RZ_OPTION_INT, patience, 1,                                                      \
         100,     "Server",      "N",      "tries of a call while the server is busy or away"},    \
    {                                                                                              \
        "json", RZ_OPTION_SWITCH, "false", .group = "Output",                                      \
                                           .help = "print the server's answer as JSON"             \
    }
#define COMMAND_OPTIONS COMMAND_OPTIONS_TRIES("8")

/* Reads flags and environment (prefix REZEPT), then connects.
 * operands_min/max  how many operands the command takes; checked here */
RZ_MUST_CHECK rz_status command_open(command *c, const rz_option *table, size_t n,
                                     const char *usage, size_t operands_min, size_t operands_max,
                                     int argc, char *const *argv, rz_error *error);
void command_close(command *c);

/* True after the first SIGINT or SIGTERM. */
bool command_interrupted(void);

/* Prints a JSON value with two-space indentation and a newline. */
RZ_MUST_CHECK rz_status command_print_json(const json_t *json, rz_error *error);

/* Members as text for tables; "" when absent. `cell` is borrowed scratch for numbers. */
const char *command_text(const json_t *object, const char *key);
const char *command_number(const json_t *object, const char *key, char cell[32]);

#endif
