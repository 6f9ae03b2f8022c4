/* Fuzzes the JSON files of a model's folder: a leading 'v' is followed by vocab.json, 'o' by the
 * onset.json of two codes, anything else by tasks.json. What is accepted must survive being asked.
 */
#include "model/vocabulary_entries.h"
#include "predict/predictor_own.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_vocabulary(const uint8_t *data, size_t size)
{
    rz_error error = {0};
    rz_vocabulary *vocabulary = NULL;
    char *text = malloc(size + 1);
    if (text == NULL)
        abort();
    memcpy(text, data, size);
    if (vocabulary_parse(text, size, "vocab.json", &vocabulary, &error) == RZ_OK) {
        for (size_t i = 0; i < vocabulary->n_diagnoses + vocabulary->n_medications; i++) {
            const rz_vocabulary_entry *entry = &vocabulary->entries[i];
            rz_timeline_event event = {.kind = (uint8_t)entry->kind,
                                       .system = (uint8_t)entry->system,
                                       .code = entry->code};
            if (rz_vocabulary_token(vocabulary, &event) != (int32_t)i + RZ_TOKEN_SPECIALS)
                abort();
        }
    } else if (error.text[0] == '\0') {
        abort();
    }
    rz_vocabulary_free(vocabulary);
    free(text);
}

static void fuzz_tasks(const uint8_t *data, size_t size)
{
    static rz_head heads[RZ_HEADS_MAX];
    rz_error error = {0};
    size_t n = 0;
    if (heads_parse((const char *)data, size, heads, &n, &error) != RZ_OK) {
        if (error.text[0] == '\0')
            abort();
        return;
    }
    for (size_t i = 0; i < n; i++) {
        rz_calibrated out;
        for (double logit = -40.0; logit <= 40.0; logit += 5.0) {
            rz_calibration_apply(&heads[i].calibration, logit, &out);
            if (!(out.low >= 0.0 && out.low <= out.probability && out.probability <= out.high &&
                  out.high <= 1.0))
                abort();
        }
        rz_head_done(&heads[i]);
    }
}

static void fuzz_onset(const uint8_t *data, size_t size)
{
    static rz_vocabulary *vocabulary;
    rz_error error = {0};
    rz_onset onset = {0};
    if (vocabulary == NULL && rz_vocabulary_synthetic(2, &vocabulary, &error) != RZ_OK)
        abort();
    if (onset_parse((const char *)data, size, vocabulary, &onset, &error) != RZ_OK) {
        if (error.text[0] == '\0')
            abort();
        return;
    }
    for (size_t i = 0; i < onset.n_codes; i++) {
        rz_calibrated out;
        for (double logit = -40.0; logit <= 40.0; logit += 5.0) {
            rz_onset_apply(&onset.codes[i], logit, &out);
            if (!(out.low >= 0.0 && out.low <= out.probability && out.probability <= out.high &&
                  out.high <= 1.0))
                abort();
        }
    }
    rz_onset_done(&onset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'v')
        fuzz_vocabulary(data + 1, size - 1);
    else if (size > 0 && data[0] == 'o')
        fuzz_onset(data + 1, size - 1);
    else if (size > 0)
        fuzz_tasks(data + 1, size - 1);
    return 0;
}
