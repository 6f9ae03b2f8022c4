/* The settings of rezeptd: flag > environment (REZEPTD_…) > INI file > default. Every limit and
 * timeout of the daemon is a row of the table in config.c, with its unit in its name. */
#ifndef REZEPTD_CONFIG_H
#define REZEPTD_CONFIG_H

#include "base/hash.h"
#include "base/options.h"

#include <jansson.h>

typedef struct config {
    rz_options *options; /* owned; the texts below are borrowed from it */
    const char *listen, *db, *models, *code_titles, *base_uri; /* code_titles: NULL for none */
    char *key_file; /* owned; where the pseudonym key came from, NULL without one */
    int port;
    bool behind_proxy, shared_patient_ids, has_pseudonym_key, rescore;
    unsigned char pseudonym_key[RZ_HMAC_KEY_BYTES];
    unsigned http_threads, model_threads;
    int connections_max, connections_per_ip_max, listen_backlog;
    int header_timeout_s, body_timeout_s, idle_timeout_s, request_timeout_s, send_timeout_s;
    size_t header_bytes_max, claim_bytes_max, claims_bytes_max, predict_bytes_max, batch_bytes_max,
        bodies_bytes_max, history_bytes_max, cache_bytes_max;
    size_t claims_lines_max, page_patients_max, rescore_explain;
    size_t batch_tokens_max, batch_patients_max, queue_patients_max, writes_queued_max;
    int batch_wait_ms, store_busy_ms, rescore_pause_ms, rescore_batch_ms, rescore_hour_utc,
        drain_seconds, load_timeout_s;
    size_t readers_max;
} config;

/* Reads all sources. Sets *stop when --help was asked for and printed. Free with config_done also
 * after a failure.
 * Errors  RZ_E_USAGE naming the setting, its source and what is allowed. */
RZ_MUST_CHECK rz_status config_read(config *c, int argc, char *const *argv, const char *usage,
                                    bool *stop, rz_error *error);
void config_done(config *c);

/* True for 127.0.0.0/8, ::1 and "localhost". */
bool config_listens_on_loopback(const config *c);

/* All settings with value and origin, as /v1/server shows them (no secrets); new. */
json_t *config_json(const config *c);

#endif
