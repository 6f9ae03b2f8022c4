/* What pretraining hides and asks for. Every decision is a draw of its own at a place that names
 * it, so it depends on (seed, stream) and the batch's layout only. */
#include "model/encoder/encoder.h"

#include "base/rng.h"

/* Of the chosen positions 80 % become [MASK], 10 % another code, 10 % stay. */
#define MASKED   0.80
#define REPLACED 0.90
#define AGE      0.50 /* of the chosen positions also hide their age */
#define FIRST    0.15 /* of timelines are asked for the age at as_of */

/* What a draw is for: the top of the 48-bit counter space that dropout's site 0 leaves free. */
typedef enum purpose {
    PURPOSE_TOKEN,
    PURPOSE_CODE,
    PURPOSE_AGE,
    PURPOSE_FIRST,
    PURPOSE_FORCED
} purpose;

typedef struct masker {
    const rz_model *model;
    rz_batch *batch;
    rz_targets *out;
    uint64_t seed, stream;
} masker;

typedef struct draw {
    uint32_t word[4];
} draw;

static draw draw_at(const masker *m, purpose what, uint64_t key)
{
    draw d = {{0}};
    rz_rng_at(m->seed, m->stream, (uint64_t)what << 44 | key, d.word);
    return d;
}

static bool below(uint32_t word, double share)
{
    return (double)word < share * 4294967296.0;
}

static bool is_code(int32_t token)
{
    return token >= RZ_TOKEN_SPECIALS;
}

/* The draw that decides over a position: its own, or its code's within the timeline. */
static draw decision(const masker *m, size_t seq, size_t position)
{
    if (m->model->config.masking == RZ_MASKING_CODE)
        return draw_at(m, PURPOSE_CODE, (uint64_t)seq << 20 | (uint32_t)m->batch->tokens[position]);
    return draw_at(m, PURPOSE_TOKEN, position);
}

/* A position with a code that is hidden in any case when chance chose none; SIZE_MAX without codes.
 */
static size_t forced_position(const masker *m, size_t seq)
{
    size_t first = m->batch->offsets[seq], last = m->batch->offsets[seq + 1], codes = 0;
    double share = (double)m->model->config.mask_share;
    for (size_t i = first; i < last; i++) {
        if (!is_code(m->batch->tokens[i]))
            continue;
        if (below(decision(m, seq, i).word[0], share))
            return SIZE_MAX;
        codes++;
    }
    if (codes == 0)
        return SIZE_MAX;
    size_t skip = (size_t)((uint64_t)draw_at(m, PURPOSE_FORCED, seq).word[0] * codes >> 32);
    for (size_t i = first; i < last; i++)
        if (is_code(m->batch->tokens[i]) && skip-- == 0)
            return i;
    return SIZE_MAX;
}

static void ask_age(const masker *m, size_t position)
{
    rz_targets *t = m->out;
    m->batch->age_hidden[position] = 1;
    t->age_positions[t->n_ages] = (uint32_t)position;
    t->age_values[t->n_ages++] = m->batch->age_days[position] / RZ_ENCODER_AGE_UNIT;
}

/* Asks for the code at a position and hides it as the decision says. */
static void ask_code(const masker *m, size_t position, draw d)
{
    rz_targets *t = m->out;
    int32_t *token = &m->batch->tokens[position], code = *token - RZ_TOKEN_SPECIALS;
    int32_t n_diagnoses = m->model->config.n_diagnoses, first = 0, count = n_diagnoses;
    if (code < n_diagnoses) {
        t->diagnosis_positions[t->n_diagnoses] = (uint32_t)position;
        t->diagnosis_labels[t->n_diagnoses++] = code;
    } else {
        t->medication_positions[t->n_medications] = (uint32_t)position;
        t->medication_labels[t->n_medications++] = code - n_diagnoses;
        first = n_diagnoses;
        count = m->model->config.n_medications;
    }
    if (below(d.word[1], MASKED))
        *token = RZ_TOKEN_MASK;
    else if (below(d.word[1], REPLACED))
        *token = RZ_TOKEN_SPECIALS + first + (int32_t)((uint64_t)d.word[2] * (uint64_t)count >> 32);
    if (m->batch->age_hidden[position] == 0 &&
        below(draw_at(m, PURPOSE_AGE, position).word[0], AGE))
        ask_age(m, position);
}

static void mask_timeline(const masker *m, size_t seq)
{
    size_t first = m->batch->offsets[seq], last = m->batch->offsets[seq + 1];
    size_t forced = forced_position(m, seq);
    int32_t forced_code = forced == SIZE_MAX ? RZ_TOKEN_NONE : m->batch->tokens[forced];
    bool by_code = m->model->config.masking == RZ_MASKING_CODE;
    /* The age at as_of stands at [CLS] and at the sex token: hidden at both, asked at the first. */
    if (m->batch->age_hidden[first] == 0 && below(draw_at(m, PURPOSE_FIRST, seq).word[0], FIRST)) {
        ask_age(m, first);
        m->batch->age_hidden[first + 1] = 1;
    }
    for (size_t i = first; i < last; i++) {
        if (!is_code(m->batch->tokens[i]))
            continue;
        draw d = decision(m, seq, i);
        bool chosen = forced == SIZE_MAX ? below(d.word[0], (double)m->model->config.mask_share)
                      : by_code          ? m->batch->tokens[i] == forced_code
                                         : i == forced;
        if (chosen)
            ask_code(m, i, d);
    }
}

rz_status encoder_pretrain_targets(const rz_model *model, rz_batch *batch, uint64_t seed,
                                   uint64_t stream, rz_targets *out, rz_error *error)
{
    rz_status status = rz_targets_reserve(out, batch->n_tokens, error);
    if (status != RZ_OK)
        return status;
    out->pretrain = true;
    out->finetune = false;
    out->n_diagnoses = out->n_medications = out->n_ages = 0;
    out->diagnosis_weight = out->medication_weight = out->age_weight = 0.0f;
    out->dropout_seed = seed;
    out->dropout_stream = stream;
    masker m = {.model = model, .batch = batch, .out = out, .seed = seed, .stream = stream};
    for (size_t seq = 0; seq < batch->n_seqs; seq++)
        mask_timeline(&m, seq);
    return RZ_OK;
}
