/* What the commands of rezept-train share: the option rows every command has, the progress line,
 * and Ctrl-C. Each command lives in its own cmd_<name>.c and is a row in main.c. */
#ifndef RZ_MODELS_PROGRAM_H
#define RZ_MODELS_PROGRAM_H

#include "base/options.h"
#include "base/pool.h"
#include "base/progress.h"

/* A command: returns a status; the error is printed by main, which also chooses the exit code. */
typedef rz_status command_fn(int argc, char *const *argv, rz_error *error);

command_fn cmd_simulate, cmd_import, cmd_vocab, cmd_pretrain, cmd_finetune, cmd_baseline, cmd_study,
    cmd_calibrate, cmd_evaluate, cmd_show;

/* Reads flags and environment (prefix REZEPT) into options made from `table`. When --help was
 * asked for, prints `usage` and the table and sets *stop. An operand is an error unless
 * `operands`: `--resume yes` and a forgotten dash must not pass for less than was meant. */
RZ_MUST_CHECK rz_status program_options(const rz_option *table, size_t n, const char *usage,
                                        bool operands, int argc, char *const *argv,
                                        rz_options **out, bool *stop, rz_error *error);

/* One self-overwriting line on a terminal, a plain line every ten seconds elsewhere. The progress
 * returns false after the first SIGINT or SIGTERM; a second one ends the program at once. */
rz_progress program_progress(void);
/* Ends the progress line, if one is open, so that other output starts on a new line. */
void program_progress_end(void);

#endif
