/* rezept-train: chooses the command and turns its status into a message and an exit code. */
#include "base/file.h"
#include "base/hash.h"
#include "base/size.h"
#include "program.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    command_fn *run;
    const char *help;
    bool openmp; /* calls XGBoost */
} commands[] = {
    {"simulate", cmd_simulate, "make claims of patients who do not exist, with true risks"},
    {"import", cmd_import, "read claims from files into a database"},
    {"vocab", cmd_vocab, "count the codes of the training split into a vocabulary"},
    {"pretrain", cmd_pretrain, "learn histories from a database"},
    {"finetune", cmd_finetune, "learn tasks and calibrate their risks"},
    {"baseline", cmd_baseline, "learn a task from counts, to compare with", true},
    {"study", cmd_study, "find the size that each task needs, beside honest baselines"},
    {"calibrate", cmd_calibrate, "calibrate a model anew on a database"},
    {"evaluate", cmd_evaluate, "measure a model on patients it has not seen"},
    {"show", cmd_show, "show a size's tensors, or what a model's folder holds"},
    {NULL, NULL, NULL},
};

static void print_usage(FILE *out)
{
    (void)fputs("rezept-train " REZEPT_VERSION "\n"
                "Makes models from claims. Decision support for research use, not a diagnosis.\n\n"
                "usage: rezept-train COMMAND [FLAGS]\n\ncommands:\n",
                out);
    for (size_t i = 0; commands[i].name != NULL; i++)
        (void)fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    (void)fputs("\n`rezept-train COMMAND --help` tells more.\n", out);
}

/* OpenMP's threads, which XGBoost brings, wait for each other spinning unless this is set when the
 * program is loaded; on a machine with other work that takes ten times the work itself. */
static void wait_asleep(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") == NULL && setenv("OMP_WAIT_POLICY", "passive", 1) == 0)
        (void)execv("/proc/self/exe", argv); /* without it all is slower, no more */
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
        (void)puts("rezept-train " REZEPT_VERSION);
        return 0;
    }
    rz_status status = rz_hash_setup(&error);
    size_t i = 0;
    while (status == RZ_OK && commands[i].name != NULL && strcmp(argv[1], commands[i].name) != 0)
        i++;
    if (status == RZ_OK && commands[i].name == NULL)
        status = rz_fail(&error, RZ_E_USAGE, "there is no command %s; --help lists them", argv[1]);
    if (status == RZ_OK && commands[i].openmp)
        wait_asleep(argv);
    if (status == RZ_OK)
        status = commands[i].run(argc - 1, argv + 1, &error);
    program_progress_end();
    if (status == RZ_OK)
        status = rz_output_flush(stdout, "the output", &error);
    if (status != RZ_OK)
        (void)fprintf(stderr, "rezept-train: %s\n",
                      error.text[0] != '\0' ? error.text : rz_status_text(status));
    return rz_status_exit_code(status);
}
