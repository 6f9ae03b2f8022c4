/* The option table at work: each value is kept as checked text beside the strength of its origin.
 */
#include "base/options.h"

#include "base/size.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct setting {
    char *text; /* owned; NULL = unset */
    rz_option_origin origin;
} setting;

struct rz_options {
    const rz_option *table;
    size_t n;
    const char *prefix;
    setting *settings;
    const char **operands; /* borrowed from argv */
    size_t n_operands;
    bool wants_help;
};

static const char *const origin_names[] = {"default", "file", "environment", "flag"};

static size_t find(const rz_options *options, const char *name, size_t length)
{
    for (size_t i = 0; i < options->n; i++) {
        const char *candidate = options->table[i].name;
        size_t k = 0;
        while (k < length && candidate[k] != '\0' &&
               (candidate[k] == name[k] || (candidate[k] == '-' && name[k] == '_')))
            k++;
        if (k == length && candidate[k] == '\0')
            return i;
    }
    return options->n;
}

/* Numbers are read digit by digit, so that no locale can change them. */
static bool parse_number(const char *text, bool whole, double *out)
{
    const char *p = text;
    double sign = 1.0, value = 0.0, scale = 1.0;
    bool any = false;
    if (*p == '-' || *p == '+')
        sign = *p++ == '-' ? -1.0 : 1.0;
    for (; isdigit((unsigned char)*p); p++, any = true)
        value = value * 10.0 + (*p - '0');
    if (!whole && *p == '.')
        for (p++; isdigit((unsigned char)*p); p++, any = true) {
            value = value * 10.0 + (*p - '0');
            scale *= 10.0;
        }
    value /= scale;
    if (any && !whole && (*p == 'e' || *p == 'E')) {
        double exponent;
        if (!parse_number(p + 1, true, &exponent) || fabs(exponent) > 300.0)
            return false;
        value *= pow(10.0, exponent);
        p += strlen(p);
    }
    *out = sign * value;
    return any && *p == '\0';
}

static bool parse_switch(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no",
                                                                                "off", "0"};
    for (size_t i = 0; i < RZ_COUNT(yes); i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static rz_status check(const rz_option *option, const char *text, const char *where,
                       rz_error *error)
{
    double number = 0.0;
    bool flag;
    switch (option->kind) {
    case RZ_OPTION_TEXT:
    case RZ_OPTION_LIST:
    case RZ_OPTION_SECRET:
        return RZ_OK;
    case RZ_OPTION_SWITCH:
        if (!parse_switch(text, &flag))
            return rz_fail(error, RZ_E_USAGE, "%s: \"%s\" is neither true nor false", where, text);
        return RZ_OK;
    case RZ_OPTION_INT:
    case RZ_OPTION_REAL:
        if (!parse_number(text, option->kind == RZ_OPTION_INT, &number))
            return rz_fail(error, RZ_E_USAGE, "%s: \"%s\" is not a %s", where, text,
                           option->kind == RZ_OPTION_INT ? "whole number" : "number");
        if ((option->min != 0.0 || option->max != 0.0) &&
            (number < option->min || number > option->max))
            return rz_fail(error, RZ_E_USAGE, "%s: %s is outside %.15g to %.15g", where, text,
                           option->min, option->max);
        return RZ_OK;
    }
    return rz_fail(error, RZ_E_INTERNAL, "%s: option of unknown kind", where);
}

static rz_status put(rz_options *options, size_t i, const char *text, rz_option_origin origin,
                     const char *where, rz_error *error)
{
    setting *s = &options->settings[i];
    rz_status status = check(&options->table[i], text, where, error);
    if (status != RZ_OK)
        return status;
    bool append = options->table[i].kind == RZ_OPTION_LIST && s->text != NULL &&
                  s->origin == origin && origin != RZ_ORIGIN_DEFAULT;
    if (s->text != NULL && s->origin > origin)
        return RZ_OK;
    size_t bytes = strlen(text) + 1 + (append ? strlen(s->text) + 1 : 0);
    char *copy = malloc(bytes);
    if (copy == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %s", where);
    (void)snprintf(copy, bytes, "%s%s%s", append ? s->text : "", append ? "," : "", text);
    free(s->text);
    s->text = copy;
    s->origin = origin;
    return RZ_OK;
}

rz_status rz_options_new(const rz_option *table, size_t n, const char *prefix, rz_options **out,
                         rz_error *error)
{
    rz_options *options = calloc(1, sizeof *options);
    if (options != NULL)
        options->settings = calloc(n > 0 ? n : 1, sizeof *options->settings);
    if (options == NULL || options->settings == NULL) {
        free(options);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %zu options", n);
    }
    options->table = table;
    options->n = n;
    options->prefix = prefix;
    for (size_t i = 0; i < n; i++) {
        if (table[i].fallback == NULL)
            continue;
        rz_status status =
            put(options, i, table[i].fallback, RZ_ORIGIN_DEFAULT, table[i].name, error);
        if (status != RZ_OK) {
            rz_options_free(options);
            return status;
        }
    }
    *out = options;
    return RZ_OK;
}

void rz_options_free(rz_options *options)
{
    if (options == NULL)
        return;
    for (size_t i = 0; i < options->n; i++)
        free(options->settings[i].text);
    free(options->settings);
    free(options->operands);
    free(options);
}

typedef struct file_reader {
    rz_options *options;
    const char *path, *section;
    rz_error *error;
    rz_status status;
} file_reader;

static int file_entry(void *context, const char *section, const char *name, const char *value)
{
    file_reader *reader = context;
    if (strcmp(section, reader->section) != 0 && section[0] != '\0')
        return 1;
    char where[256];
    (void)snprintf(where, sizeof where, "%s: %s", reader->path, name);
    size_t i = find(reader->options, name, strlen(name));
    if (i == reader->options->n)
        reader->status = rz_fail(reader->error, RZ_E_USAGE, "%s: no such setting", where);
    else
        reader->status = put(reader->options, i, value, RZ_ORIGIN_FILE, where, reader->error);
    return reader->status == RZ_OK;
}

rz_status rz_options_read_file(rz_options *options, const char *path, const char *section,
                               rz_error *error)
{
    file_reader reader = {.options = options, .path = path, .section = section, .error = error};
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return rz_fail_errno(error, errno, "cannot open the settings file %s", path);
    errno = 0;
    int line = ini_parse_file(file, file_entry, &reader);
    int why = ferror(file) ? errno : 0; /* of a folder, for one */
    (void)fclose(file);
    if (reader.status != RZ_OK)
        return reader.status;
    if (why != 0)
        return rz_fail_errno(error, why, "cannot read the settings file %s", path);
    if (line != 0)
        return rz_fail(error, RZ_E_USAGE, "%s:%d: not a line of an INI file", path, line);
    return RZ_OK;
}

rz_status rz_options_read_environment(rz_options *options, rz_error *error)
{
    for (size_t i = 0; i < options->n; i++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s_%s", options->prefix, options->table[i].name);
        for (char *p = name; *p != '\0'; p++)
            *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        const char *value = getenv(name);
        if (value == NULL)
            continue;
        rz_status status = put(options, i, value, RZ_ORIGIN_ENVIRONMENT, name, error);
        if (status != RZ_OK)
            return status;
    }
    return RZ_OK;
}

/* One flag; *used tells whether the next argument was its value. */
static rz_status read_flag(rz_options *options, const char *flag, const char *next, bool *used,
                           rz_error *error)
{
    const char *name = flag + 2, *equals = strchr(name, '=');
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    size_t i = find(options, name, length);
    *used = false;
    if (i == options->n && equals == NULL && strncmp(name, "no-", 3) == 0) {
        i = find(options, name + 3, length - 3);
        if (i < options->n && options->table[i].kind == RZ_OPTION_SWITCH)
            return put(options, i, "false", RZ_ORIGIN_FLAG, flag, error);
        i = options->n;
    }
    if (i == options->n)
        return rz_fail(error, RZ_E_USAGE, "there is no flag %s; --help lists them", flag);
    if (equals != NULL)
        return put(options, i, equals + 1, RZ_ORIGIN_FLAG, flag, error);
    if (options->table[i].kind == RZ_OPTION_SWITCH)
        return put(options, i, "true", RZ_ORIGIN_FLAG, flag, error);
    if (next == NULL)
        return rz_fail(error, RZ_E_USAGE, "%s needs a value", flag);
    *used = true;
    return put(options, i, next, RZ_ORIGIN_FLAG, flag, error);
}

rz_status rz_options_read_arguments(rz_options *options, int argc, char *const *argv,
                                    rz_error *error)
{
    free(options->operands);
    options->n_operands = 0;
    options->operands = calloc(argc > 0 ? (size_t)argc : 1, sizeof *options->operands);
    if (options->operands == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for %d arguments", argc);
    bool flags_ended = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (!flags_ended && strcmp(argument, "--") == 0) {
            flags_ended = true;
        } else if (!flags_ended &&
                   (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0)) {
            options->wants_help = true;
        } else if (!flags_ended && strncmp(argument, "--", 2) == 0) {
            bool used;
            rz_status status =
                read_flag(options, argument, i + 1 < argc ? argv[i + 1] : NULL, &used, error);
            if (status != RZ_OK)
                return status;
            i += used ? 1 : 0;
        } else if (!flags_ended && argument[0] == '-' && argument[1] != '\0') {
            return rz_fail(error, RZ_E_USAGE, "there is no flag %s; --help lists them", argument);
        } else {
            options->operands[options->n_operands++] = argument;
        }
    }
    return RZ_OK;
}

bool rz_options_wants_help(const rz_options *options)
{
    return options->wants_help;
}

size_t rz_options_operands(const rz_options *options, const char *const **out)
{
    *out = options->operands;
    return options->n_operands;
}

static const setting *get(const rz_options *options, const char *name)
{
    size_t i = find(options, name, strlen(name));
    assert(i < options->n);
    return &options->settings[i];
}

const char *rz_options_text(const rz_options *options, const char *name)
{
    return get(options, name)->text;
}

double rz_options_real(const rz_options *options, const char *name)
{
    double number = 0.0;
    const char *text = get(options, name)->text;
    return text != NULL && parse_number(text, false, &number) ? number : 0.0;
}

int64_t rz_options_int(const rz_options *options, const char *name)
{
    return (int64_t)rz_options_real(options, name);
}

bool rz_options_switch(const rz_options *options, const char *name)
{
    bool flag = false;
    const char *text = get(options, name)->text;
    return text != NULL && parse_switch(text, &flag) && flag;
}

bool rz_options_given(const rz_options *options, const char *name)
{
    const setting *s = get(options, name);
    return s->text != NULL && s->origin != RZ_ORIGIN_DEFAULT;
}

rz_option_origin rz_options_origin(const rz_options *options, const char *name)
{
    return get(options, name)->origin;
}

void rz_options_print_help(const rz_options *options, FILE *out)
{
    const char *group = NULL;
    for (size_t i = 0; i < options->n; i++) {
        const rz_option *o = &options->table[i];
        if (o->group != NULL && (group == NULL || strcmp(group, o->group) != 0)) {
            group = o->group;
            (void)fprintf(out, "\n%s:\n", group);
        }
        char flag[64];
        (void)snprintf(flag, sizeof flag, "--%s%s%s", o->name,
                       o->kind == RZ_OPTION_SWITCH ? "" : " ",
                       o->kind == RZ_OPTION_SWITCH ? ""
                       : o->value != NULL          ? o->value
                                                   : "VALUE");
        (void)fprintf(out, "  %-28s %s", flag, o->help != NULL ? o->help : "");
        if (o->fallback != NULL && o->kind != RZ_OPTION_SWITCH)
            (void)fprintf(out, " [%s]", o->fallback);
        (void)fputc('\n', out);
    }
}

void rz_options_print_values(const rz_options *options, FILE *out)
{
    for (size_t i = 0; i < options->n; i++) {
        const setting *s = &options->settings[i];
        bool secret = options->table[i].kind == RZ_OPTION_SECRET;
        (void)fprintf(out, "%-28s = %s  (%s)\n", options->table[i].name,
                      s->text == NULL ? ""
                      : secret        ? "***"
                                      : s->text,
                      s->text == NULL ? "unset" : origin_names[s->origin]);
    }
}
