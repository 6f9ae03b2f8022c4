/* rezept: chooses the command and turns its status into a message and an exit code. */
#include "command.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/size.h"

#include <signal.h>
#include <string.h>

static const struct {
    const char *name;
    command_fn *run;
    const char *help;
} commands[] = {
    {"push", cmd_push, "send claims from a file or standard input"},
    {"risk", cmd_risk, "the risks of a patient"},
    {"watch", cmd_watch, "print risks that changed since the last look"},
    {"patients", cmd_patients, "list patients"},
    {"models", cmd_models, "list models, their state and their tasks"},
    {"tasks", cmd_tasks, "list tasks and the model that answers each"},
    {"health", cmd_health, "is the server alive and ready?"},
    {"delete", cmd_delete, "void a claim or erase a patient"},
};

static void print_usage(FILE *out)
{
    (void)fputs("rezept " REZEPT_VERSION "\nTalks to a rezeptd. " DISCLAIMER "\n\n"
                "usage: rezept COMMAND [FLAGS] …\n\ncommands:\n",
                out);
    for (size_t i = 0; i < RZ_COUNT(commands); i++)
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    (void)fputs(
        "\n`rezept COMMAND --help` tells more. Every flag has an environment twin: --url is\n"
        "REZEPT_URL. Exit codes: 0 done, 2 wrong usage, 3 refused input, 4 not found,\n"
        "5 conflict, 6 not allowed, 7 busy or away, 8 full, 9 input/output, 10 damaged data,\n"
        "130 interrupted.\n",
        out);
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error of write, not an end */
    if (argc < 2) {
        print_usage(stderr);
        return rz_status_exit_code(RZ_E_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("rezept " REZEPT_VERSION);
        return 0;
    }
    rz_status status = rz_hash_setup(&error);
    if (status == RZ_OK && rz_client_setup() != RZ_OK)
        status = rz_fail(&error, RZ_E_INTERNAL, "libcurl could not be initialised");
    size_t i = 0;
    while (status == RZ_OK && i < RZ_COUNT(commands) && strcmp(argv[1], commands[i].name) != 0)
        i++;
    if (status == RZ_OK && i == RZ_COUNT(commands))
        status = rz_fail(&error, RZ_E_USAGE, "there is no command %s; --help lists them", argv[1]);
    if (status == RZ_OK)
        status = commands[i].run(argc - 1, argv + 1, &error);
    if (status == RZ_OK)
        status = rz_output_flush(stdout, "the answer", &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "rezept: %s\n",
                      error.text[0] != '\0' ? error.text : rz_status_text(status));
    return rz_status_exit_code(status);
}
