/* Options, connection and signals of every command of `rezept`. */
#include "command.h"

#include "base/file.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
    if (interrupted)
        _exit(128 + signal_number);
    interrupted = 1;
}

bool command_interrupted(void)
{
    return interrupted != 0;
}

static bool go_on(void *context)
{
    (void)context;
    return interrupted == 0;
}

static rz_status read_token(const char *path, char **out, rz_error *error)
{
    rz_status status = rz_file_read(path, 4096, out, NULL, error);
    if (status == RZ_OK)
        (*out)[strcspn(*out, " \t\r\n")] = '\0';
    if (status == RZ_OK && (*out)[0] == '\0')
        status = rz_fail(error, RZ_E_USAGE, "%s: the first line holds no token", path);
    return status;
}

rz_status command_open(command *c, const rz_option *table, size_t n, const char *usage,
                       size_t operands_min, size_t operands_max, int argc, char *const *argv,
                       rz_error *error)
{
    char *file_token = NULL;
    *c = (command){0};
    rz_status status = rz_options_new(table, n, "REZEPT", &c->options, error);
    if (status == RZ_OK)
        status = rz_options_read_environment(c->options, error);
    if (status == RZ_OK)
        status = rz_options_read_arguments(c->options, argc, argv, error);
    if (status != RZ_OK)
        goto out;
    if (rz_options_wants_help(c->options)) {
        (void)fputs(usage, stdout);
        rz_options_print_help(c->options, stdout);
        c->stop = true;
        goto out;
    }
    c->n_operands = rz_options_operands(c->options, &c->operands);
    if (c->n_operands < operands_min || c->n_operands > operands_max) {
        status = rz_fail(error, RZ_E_USAGE, "%zu operands given; %s", c->n_operands, usage);
        goto out;
    }
    rz_client_options options = rz_client_options_defaults();
    options.url = rz_options_text(c->options, "url");
    options.token = rz_options_text(c->options, "token");
    options.timeout_s = (long)rz_options_int(c->options, "timeout-s");
    options.tries = (unsigned)rz_options_int(c->options, "tries");
    options.go_on = go_on;
    /* Of the two ways to name a token the stronger origin wins; on the same level the file. */
    if (rz_options_given(c->options, "token-file") &&
        rz_options_origin(c->options, "token-file") >= rz_options_origin(c->options, "token")) {
        status = read_token(rz_options_text(c->options, "token-file"), &file_token, error);
        options.token = file_token;
    }
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (status == RZ_OK)
        status = rz_client_open(&options, &c->client, error);
out:
    free(file_token);
    if (status != RZ_OK)
        command_close(c);
    return status;
}

void command_close(command *c)
{
    rz_client_close(c->client);
    rz_options_free(c->options);
    *c = (command){0};
}

rz_status command_print_json(const json_t *json, rz_error *error)
{
    if (json == NULL)
        return rz_fail(error, RZ_E_FORMAT, "the server's answer is not JSON");
    if (json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0 ||
        fputc('\n', stdout) == EOF)
        return rz_fail(error, RZ_E_IO, "the answer cannot be printed");
    return RZ_OK;
}

const char *command_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

const char *command_number(const json_t *object, const char *key, char cell[32])
{
    const json_t *value = json_object_get(object, key);
    cell[0] = '\0';
    if (json_is_integer(value))
        (void)snprintf(cell, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(cell, 32, "%.3f", json_real_value(value));
    return cell;
}
