/* The table of settings and how it becomes plain numbers. */
#include "config.h"

#include "base/file.h"
#include "base/pool.h"
#include "base/size.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIB 1024.0
#define MIB (1024.0 * 1024.0)
#define GIB (1024.0 * 1024.0 * 1024.0)

static const rz_option table[] = {
    {"config", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "settings file; default /etc/rezept/rezeptd.ini where there is one"},
    {"db", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "the store; default /var/lib/rezept/rezept.db, or ./rezept.db for a plain user"},
    {"models", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "FOLDER",
     .help = "folder of models; default /var/lib/rezept/models, or ./models"},
    {"code-titles", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "CSV of system, code, title and title_ja: what the page calls codes"},
    {"pseudonym-key-file", RZ_OPTION_TEXT, NULL, .group = "Files", .value = "PATH",
     .help = "32 bytes as 64 hex digits; patient ids pass through HMAC with them; default: the"
             " systemd credential pseudonym-key"},
    {"patient-ids", RZ_OPTION_TEXT, "facility", .group = "Files", .value = "facility|shared",
     .help = "whether an id means the same patient in all facilities"},
    {"base-uri", RZ_OPTION_TEXT, "urn:rezept:", .group = "Files", .value = "URI",
     .help = "start of the canonical URIs in answers"},

    {"listen", RZ_OPTION_TEXT, "127.0.0.1", .group = "Network", .value = "ADDRESS",
     .help = "address to listen on; others than loopback need tokens and --behind-proxy"},
    {"port", RZ_OPTION_INT, "8480", .min = 0, .max = 65535, .group = "Network", .value = "PORT",
     .help = "port to listen on; 0 picks a free one"},
    {"behind-proxy", RZ_OPTION_SWITCH, "false", .group = "Network",
     .help = "a proxy in front speaks TLS with the clients"},
    {"http-threads", RZ_OPTION_INT, "0", .min = 0, .max = 256, .group = "Network", .value = "N",
     .help = "threads that speak HTTP; 0 = one per core"},
    {"connections-max", RZ_OPTION_INT, "1000", .min = 1, .max = 100000, .group = "Network",
     .value = "N", .help = "open connections"},
    {"connections-per-ip-max", RZ_OPTION_INT, "500", .min = 1, .max = 100000, .group = "Network",
     .value = "N", .help = "open connections of one address"},
    {"listen-backlog", RZ_OPTION_INT, "511", .min = 1, .max = 65535, .group = "Network",
     .value = "N", .help = "connections that wait to be accepted"},

    {"header-timeout-s", RZ_OPTION_INT, "10", .min = 1, .max = 3600, .group = "Deadlines",
     .value = "S", .help = "seconds for all of a request's headers"},
    {"body-timeout-s", RZ_OPTION_INT, "60", .min = 1, .max = 86400, .group = "Deadlines",
     .value = "S", .help = "seconds for all of a request's body"},
    {"idle-timeout-s", RZ_OPTION_INT, "30", .min = 1, .max = 86400, .group = "Deadlines",
     .value = "S", .help = "seconds between two requests of a connection"},
    {"request-timeout-s", RZ_OPTION_INT, "30", .min = 1, .max = 3600, .group = "Deadlines",
     .value = "S", .help = "seconds from the whole request to its answer"},
    {"send-timeout-s", RZ_OPTION_INT, "60", .min = 1, .max = 86400, .group = "Deadlines",
     .value = "S", .help = "seconds for a client to take an answer, or a window of a batch"},
    {"load-timeout-s", RZ_OPTION_INT, "300", .min = 1, .max = 86400, .group = "Deadlines",
     .value = "S", .help = "seconds that POST :load and :unload wait for the model"},
    {"drain-seconds", RZ_OPTION_INT, "30", .min = 0, .max = 3600, .group = "Deadlines",
     .value = "S", .help = "seconds that accepted work has after SIGTERM"},

    {"header-bytes-max", RZ_OPTION_INT, "16384", .min = 1024, .max = MIB, .group = "Sizes",
     .value = "BYTES", .help = "request line and headers"},
    {"claim-bytes-max", RZ_OPTION_INT, "1048576", .min = KIB, .max = GIB, .group = "Sizes",
     .value = "BYTES", .help = "one claim, and one line of NDJSON"},
    {"claims-bytes-max", RZ_OPTION_INT, "16777216", .min = KIB, .max = GIB, .group = "Sizes",
     .value = "BYTES", .help = "an NDJSON body of claims"},
    {"claims-lines-max", RZ_OPTION_INT, "20000", .min = 1, .max = 1000000, .group = "Sizes",
     .value = "N", .help = "claims of one NDJSON body"},
    {"predict-bytes-max", RZ_OPTION_INT, "4194304", .min = KIB, .max = GIB, .group = "Sizes",
     .value = "BYTES", .help = "an inline history, and one line of a batch"},
    {"batch-bytes-max", RZ_OPTION_INT, "67108864", .min = KIB, .max = GIB, .group = "Sizes",
     .value = "BYTES", .help = "an NDJSON body of inline histories"},
    {"bodies-bytes-max", RZ_OPTION_INT, "536870912", .min = MIB, .max = 64 * GIB, .group = "Sizes",
     .value = "BYTES", .help = "bodies of all requests together"},
    {"history-bytes-max", RZ_OPTION_INT, "67108864", .min = MIB, .max = GIB, .group = "Sizes",
     .value = "BYTES", .help = "memory of one patient's history"},
    {"page-patients-max", RZ_OPTION_INT, "1000", .min = 1, .max = 100000, .group = "Sizes",
     .value = "N", .help = "patients of one page"},

    {"model-threads", RZ_OPTION_INT, "0", .min = 0, .max = 256, .group = "Prediction", .value = "N",
     .help = "threads of a model; 0 = one per core"},
    {"batch-tokens-max", RZ_OPTION_INT, "16384", .min = 1, .max = 1e7, .group = "Prediction",
     .value = "N", .help = "tokens of one packed batch"},
    {"batch-patients-max", RZ_OPTION_INT, "64", .min = 1, .max = 100000, .group = "Prediction",
     .value = "N", .help = "patients of one packed batch"},
    {"batch-wait-ms", RZ_OPTION_INT, "0", .min = 0, .max = 10000, .group = "Prediction",
     .value = "MS", .help = "milliseconds that a batch waits to fill"},
    {"queue-patients-max", RZ_OPTION_INT, "1024", .min = 1, .max = 1e6, .group = "Prediction",
     .value = "N", .help = "patients that wait for a model"},
    {"cache-bytes-max", RZ_OPTION_INT, "67108864", .min = 0, .max = 64 * GIB, .group = "Prediction",
     .value = "BYTES", .help = "answers kept for the same question"},
    {"rescore", RZ_OPTION_SWITCH, "true", .group = "Prediction",
     .help = "re-score changed patients in the background, and all of them nightly"},
    {"rescore-pause-ms", RZ_OPTION_INT, "1000", .min = 1, .max = 3600000, .group = "Prediction",
     .value = "MS", .help = "milliseconds between two looks for changed patients"},
    {"rescore-batch-ms", RZ_OPTION_INT, "25", .min = 1, .max = 60000, .group = "Prediction",
     .value = "MS",
     .help = "milliseconds that a background batch lasts, about; a request may have to wait for"
             " one"},
    {"rescore-hour-utc", RZ_OPTION_INT, "18", .min = 0, .max = 23, .group = "Prediction",
     .value = "HOUR", .help = "hour (UTC) of the nightly scoring; 18 is 03:00 in Japan"},
    {"rescore-explain", RZ_OPTION_INT, "20", .min = 0, .max = 1000, .group = "Prediction",
     .value = "N",
     .help = "highest risks of each worklist that are explained in advance; 0 = none"},

    {"readers-max", RZ_OPTION_INT, "32", .min = 1, .max = 1024, .group = "Store", .value = "N",
     .help = "store handles that read at the same time"},
    {"store-busy-ms", RZ_OPTION_INT, "5000", .min = 1, .max = 600000, .group = "Store",
     .value = "MS", .help = "milliseconds that a handle waits for the file"},
    {"writes-queued-max", RZ_OPTION_INT, "1024", .min = 1, .max = 1e6, .group = "Store",
     .value = "N", .help = "requests that wait to be written"},

    {"name", RZ_OPTION_TEXT, NULL, .group = "Tokens", .value = "NAME",
     .help = "token: its name, as the audit shows it"},
    {"scopes", RZ_OPTION_LIST, NULL, .group = "Tokens", .value = "SCOPE,…",
     .help = "token: what it allows, or \"all\""},
    {"expires", RZ_OPTION_TEXT, NULL, .group = "Tokens", .value = "YYYY-MM-DD",
     .help = "token: last day (UTC) on which it is valid; unset = no end"},

    {"check-config", RZ_OPTION_SWITCH, "false", .group = "Other",
     .help = "print every setting with its origin, and the BLAS, then exit"},
};

/* Fills in what depends on who runs the daemon: the state folder, or the working folder. */
static void set_paths(config *c)
{
    bool system_wide = access("/var/lib/rezept", W_OK) == 0;
    c->db = rz_options_text(c->options, "db");
    c->models = rz_options_text(c->options, "models");
    if (c->db == NULL)
        c->db = system_wide ? "/var/lib/rezept/rezept.db" : "rezept.db";
    if (c->models == NULL)
        c->models = system_wide ? "/var/lib/rezept/models" : "models";
}

/* The file of the key: the setting's, else the systemd credential where there is one. The store
 * knows which key it was made with, so that one that is missing cannot go unnoticed. */
static rz_status find_key(config *c, rz_error *error)
{
    const char *set = rz_options_text(c->options, "pseudonym-key-file");
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    if (set == NULL && credentials == NULL)
        return RZ_OK;
    c->key_file = set != NULL ? strdup(set) : rz_path_join(credentials, "pseudonym-key");
    if (c->key_file == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for the path of the pseudonym key");
    if (set == NULL && access(c->key_file, F_OK) != 0) {
        free(c->key_file);
        c->key_file = NULL;
    }
    return RZ_OK;
}

static rz_status read_key(config *c, rz_error *error)
{
    char *text = NULL;
    size_t n = 0;
    rz_status status = find_key(c, error);
    if (status != RZ_OK || c->key_file == NULL)
        return status;
    status = rz_file_read(c->key_file, 256, &text, &n, error);
    if (status != RZ_OK)
        return status;
    for (size_t i = 0; i < 2 * RZ_HMAC_KEY_BYTES && status == RZ_OK; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = i < n && text[i] != '\0' ? strchr(digits, text[i] | 0x20) : NULL;
        if (digit == NULL)
            status =
                rz_fail(error, RZ_E_USAGE,
                        "pseudonym-key-file %s: 64 hex digits are expected, digit %zu is none; "
                        "`openssl rand -hex 32` makes a key",
                        c->key_file, i + 1);
        else
            c->pseudonym_key[i / 2] =
                (unsigned char)(c->pseudonym_key[i / 2] << 4 | (digit - digits));
    }
    c->has_pseudonym_key = status == RZ_OK;
    free(text);
    return status;
}

static size_t size_of(const config *c, const char *name)
{
    return (size_t)rz_options_int(c->options, name);
}

static int int_of(const config *c, const char *name)
{
    return (int)rz_options_int(c->options, name);
}

static void set_numbers(config *c)
{
    c->port = int_of(c, "port");
    c->http_threads = (unsigned)int_of(c, "http-threads");
    c->model_threads = (unsigned)int_of(c, "model-threads");
    c->connections_max = int_of(c, "connections-max");
    c->connections_per_ip_max = int_of(c, "connections-per-ip-max");
    c->listen_backlog = int_of(c, "listen-backlog");
    c->header_timeout_s = int_of(c, "header-timeout-s");
    c->body_timeout_s = int_of(c, "body-timeout-s");
    c->idle_timeout_s = int_of(c, "idle-timeout-s");
    c->request_timeout_s = int_of(c, "request-timeout-s");
    c->send_timeout_s = int_of(c, "send-timeout-s");
    c->load_timeout_s = int_of(c, "load-timeout-s");
    c->drain_seconds = int_of(c, "drain-seconds");
    c->header_bytes_max = size_of(c, "header-bytes-max");
    c->claim_bytes_max = size_of(c, "claim-bytes-max");
    c->claims_bytes_max = size_of(c, "claims-bytes-max");
    c->claims_lines_max = size_of(c, "claims-lines-max");
    c->predict_bytes_max = size_of(c, "predict-bytes-max");
    c->batch_bytes_max = size_of(c, "batch-bytes-max");
    c->bodies_bytes_max = size_of(c, "bodies-bytes-max");
    c->history_bytes_max = size_of(c, "history-bytes-max");
    c->cache_bytes_max = size_of(c, "cache-bytes-max");
    c->page_patients_max = size_of(c, "page-patients-max");
    c->batch_tokens_max = size_of(c, "batch-tokens-max");
    c->batch_patients_max = size_of(c, "batch-patients-max");
    c->batch_wait_ms = int_of(c, "batch-wait-ms");
    c->queue_patients_max = size_of(c, "queue-patients-max");
    c->rescore_pause_ms = int_of(c, "rescore-pause-ms");
    c->rescore_batch_ms = int_of(c, "rescore-batch-ms");
    c->rescore_hour_utc = int_of(c, "rescore-hour-utc");
    c->rescore_explain = size_of(c, "rescore-explain");
    c->readers_max = size_of(c, "readers-max");
    c->store_busy_ms = int_of(c, "store-busy-ms");
    c->writes_queued_max = size_of(c, "writes-queued-max");
    c->behind_proxy = rz_options_switch(c->options, "behind-proxy");
    c->rescore = rz_options_switch(c->options, "rescore");
    c->listen = rz_options_text(c->options, "listen");
    c->code_titles = rz_options_text(c->options, "code-titles");
    c->base_uri = rz_options_text(c->options, "base-uri");
    if (c->http_threads == 0)
        c->http_threads = rz_cores();
}

static rz_status read_sources(config *c, int argc, char *const *argv, rz_error *error)
{
    static const char default_file[] = "/etc/rezept/rezeptd.ini";
    rz_status status = rz_options_read_environment(c->options, error);
    if (status == RZ_OK)
        status = rz_options_read_arguments(c->options, argc, argv, error);
    if (status != RZ_OK)
        return status;
    const char *file = rz_options_text(c->options, "config");
    if (file == NULL && access(default_file, F_OK) == 0)
        file = default_file;
    return file == NULL ? RZ_OK : rz_options_read_file(c->options, file, "rezeptd", error);
}

rz_status config_read(config *c, int argc, char *const *argv, const char *usage, bool *stop,
                      rz_error *error)
{
    *c = (config){0};
    *stop = false;
    rz_status status = rz_options_new(table, RZ_COUNT(table), "REZEPTD", &c->options, error);
    if (status == RZ_OK)
        status = read_sources(c, argc, argv, error);
    if (status != RZ_OK)
        return status;
    if (rz_options_wants_help(c->options)) {
        (void)fputs(usage, stdout);
        rz_options_print_help(c->options, stdout);
        *stop = true;
        return RZ_OK;
    }
    set_paths(c);
    set_numbers(c);
    const char *ids = rz_options_text(c->options, "patient-ids");
    if (strcmp(ids, "facility") != 0 && strcmp(ids, "shared") != 0)
        return rz_fail(error, RZ_E_USAGE, "patient-ids: \"%s\" is neither facility nor shared",
                       ids);
    c->shared_patient_ids = strcmp(ids, "shared") == 0;
    return read_key(c, error);
}

void config_done(config *c)
{
    rz_options_free(c->options);
    free(c->key_file);
    memset(c, 0, sizeof *c);
}

bool config_listens_on_loopback(const config *c)
{
    return strncmp(c->listen, "127.", 4) == 0 || strcmp(c->listen, "::1") == 0 ||
           strcmp(c->listen, "localhost") == 0;
}

json_t *config_json(const config *c)
{
    static const char *const origins[] = {"default", "file", "environment", "flag"};
    json_t *all = json_object();
    for (size_t i = 0; i < RZ_COUNT(table); i++) {
        const rz_option *o = &table[i];
        if (strcmp(o->group, "Tokens") == 0 || strcmp(o->group, "Other") == 0)
            continue;
        const char *text = rz_options_text(c->options, o->name);
        json_t *value =
            text == NULL                  ? json_null()
            : o->kind == RZ_OPTION_INT    ? json_integer(rz_options_int(c->options, o->name))
            : o->kind == RZ_OPTION_SWITCH ? json_boolean(rz_options_switch(c->options, o->name))
                                          : json_string(text);
        (void)json_object_set_new(all, o->name,
                                  json_pack("{s:o, s:s, s:s}", "value", value, "origin",
                                            origins[rz_options_origin(c->options, o->name)], "help",
                                            o->help));
    }
    return all;
}
