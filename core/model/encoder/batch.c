/* Timelines to tokens: [CLS], sex, then the codes known on the as_of day, the newest kept. */
#include "model/encoder/encoder.h"

#include <string.h>

static int32_t sex_token(rz_sex sex)
{
    return sex == RZ_SEX_FEMALE ? RZ_TOKEN_SEX_FEMALE
           : sex == RZ_SEX_MALE ? RZ_TOKEN_SEX_MALE
                                : RZ_TOKEN_SEX_UNKNOWN;
}

/* Without a birth day ages are hidden; until the timeline is done, age_days then tells only how
 * days lie to each other. */
static void put(rz_batch *b, size_t place, int32_t token, int32_t day, int32_t birth_day)
{
    bool known = birth_day != RZ_DAY_NONE;
    int64_t age = (int64_t)day - (known ? birth_day : RZ_DAY_MIN);
    b->tokens[place] = token;
    b->age_days[place] = age > 0 ? (float)age : 0.0f;
    b->age_hidden[place] = !known;
    b->days_before[place] = 0.0f;
}

/* True when the code just put at `place` stands among those from `first` on, less than
 * `repeat_days` earlier: a refill, not news. */
static bool repeats(const rz_batch *b, size_t first, size_t place, int32_t repeat_days)
{
    for (size_t i = place; i > first; i--) {
        if (b->age_days[place] - b->age_days[i - 1] >= (float)repeat_days)
            return false;
        if (b->tokens[i - 1] == b->tokens[place])
            return true;
    }
    return false;
}

/* Writes one timeline behind n_tokens; room for all of its events is there. */
static void append(const rz_model *model, const rz_timeline *timeline, int32_t as_of, rz_batch *b)
{
    size_t start = b->n_tokens, end = start + 2, room = (size_t)model->config.context - 2;
    uint32_t unmapped = 0;
    put(b, start, RZ_TOKEN_CLS, as_of, timeline->birth_day);
    put(b, start + 1, sex_token(timeline->sex), as_of, timeline->birth_day);
    for (size_t i = 0; i < timeline->n_events; i++) {
        const rz_timeline_event *event = &timeline->events[i];
        int32_t token = event->known_day <= as_of ? rz_vocabulary_token(model->vocabulary, event)
                                                  : RZ_TOKEN_NONE;
        if (token == RZ_TOKEN_NONE)
            continue;
        if (token < RZ_TOKEN_SPECIALS) {
            unmapped++;
            b->unmapped_systems[event->system]++;
        }
        put(b, end, token, event->day, timeline->birth_day);
        if (event->day < as_of)
            b->days_before[end] = (float)((int64_t)as_of - event->day);
        if (!repeats(b, start + 2, end, model->config.repeat_days))
            end++;
    }
    size_t codes = end - start - 2, old = codes > room ? codes - room : 0, kept = codes - old;
    if (old > 0) {
        size_t to = start + 2, from = to + old;
        memmove(b->tokens + to, b->tokens + from, kept * sizeof *b->tokens);
        memmove(b->age_days + to, b->age_days + from, kept * sizeof *b->age_days);
        memmove(b->age_hidden + to, b->age_hidden + from, kept * sizeof *b->age_hidden);
        memmove(b->days_before + to, b->days_before + from, kept * sizeof *b->days_before);
    }
    if (timeline->birth_day == RZ_DAY_NONE)
        memset(b->age_days + start, 0, (kept + 2) * sizeof *b->age_days);
    b->unmapped[b->n_seqs] = unmapped;
    b->left_out[b->n_seqs] = (uint32_t)old;
    b->n_tokens = start + 2 + kept;
    b->n_seqs++;
    b->offsets[b->n_seqs] = (uint32_t)b->n_tokens;
}

rz_status encoder_batch_build(const rz_model *model, const rz_timeline *const *timelines,
                              const int32_t *as_of, size_t n, rz_batch *out, rz_error *error)
{
    out->n_seqs = out->n_tokens = 0;
    memset(out->unmapped_systems, 0, sizeof out->unmapped_systems);
    rz_status status = rz_batch_reserve(out, n, 0, error);
    if (status != RZ_OK)
        return status;
    out->offsets[0] = 0;
    for (size_t i = 0; i < n; i++) {
        status = rz_batch_reserve(out, n, out->n_tokens + timelines[i]->n_events + 2, error);
        if (status != RZ_OK) {
            out->n_seqs = out->n_tokens = 0;
            return status;
        }
        append(model, timelines[i], as_of[i], out);
    }
    return RZ_OK;
}
