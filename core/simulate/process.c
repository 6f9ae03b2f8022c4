/* Rates from the state, and the walk through the days.
 *
 * Between two events the rates are constant for stretches of days, so the walk draws the waiting
 * time for any event from the sum of all rates. Within the day of an event the rates are held until
 * midnight: what else happens that day is independent, and the hazard of an item on a day is
 * exactly 1 - exp(-rate / 365.25). Only +, *, / and the portable log and exp are used, in a fixed
 * order, so that every machine walks the same way. */
#include "simulate/process.h"

#include "base/portable_math.h"

#include <assert.h>
#include <string.h>

#define DAYS_PER_YEAR 365.25
#define RATE_MAX      60.0 /* a year; keeps the longest chain of factors sane */

void rz_sim_engine_init(rz_sim_engine *engine)
{
    assert(rz_sim_n_additions <= RZ_SIM_ADDITIONS_MAX && rz_sim_n_ratios <= RZ_SIM_RATIOS_MAX);
    memset(engine, 0, sizeof *engine);
    uint16_t additions = 0, ratios = 0;
    for (unsigned target = 0; target < RZ_SIM_ITEMS; target++) {
        engine->addition_from[target] = additions;
        engine->ratio_from[target] = ratios;
        for (size_t i = 0; i < rz_sim_n_additions; i++)
            if (rz_sim_additions[i].target == target)
                engine->additions[additions++] = rz_sim_additions[i];
        for (size_t i = 0; i < rz_sim_n_ratios; i++)
            if (rz_sim_ratios[i].target == target)
                engine->ratios[ratios++] = rz_sim_ratios[i];
        for (unsigned habit = 0; habit < RZ_SIM_HABITS; habit++)
            engine->habit[habit][target] = 1.0;
    }
    engine->addition_from[RZ_SIM_ITEMS] = additions;
    engine->ratio_from[RZ_SIM_ITEMS] = ratios;
    for (size_t i = 0; i < rz_sim_n_habits; i++)
        for (unsigned habit = 0; habit < RZ_SIM_HABITS; habit++)
            engine->habit[habit][rz_sim_habits[i].target] = rz_sim_habits[i].factor[habit];
}

void rz_sim_state_rewind(rz_sim_state *state, int32_t day)
{
    for (unsigned i = 0; i < RZ_SIM_ITEMS; i++)
        if (state->coded[i] > day)
            state->coded[i] = RZ_DAY_NONE;
}

void rz_sim_relevant(const rz_sim_engine *engine, rz_sim_item outcome, bool out[RZ_SIM_ITEMS])
{
    memset(out, 0, RZ_SIM_ITEMS * sizeof *out);
    out[outcome] = out[RZ_SIM_DEATH] = out[RZ_SIM_LEAVING] = true;
    for (bool grown = true; grown;) {
        grown = false;
        for (unsigned target = 0; target < RZ_SIM_ITEMS; target++) {
            if (!out[target])
                continue;
            for (unsigned i = engine->addition_from[target]; i < engine->addition_from[target + 1];
                 i++) {
                grown |= !out[engine->additions[i].source];
                out[engine->additions[i].source] = true;
            }
            for (unsigned i = engine->ratio_from[target]; i < engine->ratio_from[target + 1]; i++) {
                grown |= !out[engine->ratios[i].source];
                out[engine->ratios[i].source] = true;
            }
        }
    }
}

/* What the rates of one stretch of days are read from. */
typedef struct view {
    enum { ABSENT, EVER, RECENT } of[RZ_SIM_ITEMS];
    unsigned age_band;
    int32_t until; /* first day on which this view is no longer true */
} view;

/* Days from birth on which a whole number of years is reached; leap days are spread. */
static int32_t day_of_age(const rz_sim_state *state, int years)
{
    return state->birth_day + (int32_t)((years * 1461 + 3) / 4);
}

static void look(const rz_sim_state *state, int32_t day, int32_t last, view *out)
{
    out->until = last + 1;
    for (unsigned i = 0; i < RZ_SIM_ITEMS; i++) {
        if (state->coded[i] == RZ_DAY_NONE) {
            out->of[i] = ABSENT;
            continue;
        }
        int32_t recent_until = state->coded[i] + rz_sim_bases[i].recent_days + 1;
        out->of[i] = day < recent_until ? RECENT : EVER;
        if (day < recent_until && recent_until < out->until)
            out->until = recent_until;
    }
    out->age_band = 0;
    while (out->age_band < RZ_SIM_AGE_BANDS - 1 &&
           day >= day_of_age(state, rz_sim_age_from[out->age_band]))
        out->age_band++;
    if (out->age_band < RZ_SIM_AGE_BANDS - 1) {
        int32_t birthday = day_of_age(state, rz_sim_age_from[out->age_band]);
        if (birthday < out->until)
            out->until = birthday;
    }
}

static double rate_of(const rz_sim_engine *engine, const rz_sim_state *state, const view *seen,
                      unsigned item)
{
    const rz_sim_base *base = &rz_sim_bases[item];
    double sum = base->per_1000[seen->age_band] * 0.001;
    if (state->sex == RZ_SEX_FEMALE)
        sum *= base->female;
    for (unsigned i = engine->addition_from[item]; i < engine->addition_from[item + 1]; i++) {
        const rz_sim_addition *a = &engine->additions[i];
        if (seen->of[a->source] != ABSENT)
            sum += seen->of[a->source] == RECENT ? a->ever + a->recent : a->ever;
    }
    for (unsigned i = engine->ratio_from[item]; i < engine->ratio_from[item + 1]; i++) {
        const rz_sim_ratio *r = &engine->ratios[i];
        if (seen->of[r->source] != ABSENT)
            sum *= seen->of[r->source] == RECENT ? r->ever * r->recent : r->ever;
    }
    sum *= engine->habit[state->habit][item];
    if (item < RZ_SIM_CONDITIONS)
        sum *= state->frailty;
    return sum < RATE_MAX ? sum : RATE_MAX;
}

/* Codes what happens on `day`, `hour` (a fraction of the day) being the time of the first event. */
static void happen(rz_sim_state *state, double rate[RZ_SIM_ITEMS], double total, int32_t day,
                   double hour, rz_rng *rng)
{
    for (;;) {
        double mark = rz_rng_uniform(rng) * total, sum = 0.0;
        unsigned chosen = RZ_SIM_ITEMS;
        for (unsigned i = 0; i < RZ_SIM_ITEMS; i++) {
            if (rate[i] <= 0.0)
                continue;
            chosen = i; /* rounding may leave the mark past the end: then the last one */
            sum += rate[i];
            if (mark < sum)
                break;
        }
        if (chosen == RZ_SIM_ITEMS)
            return;
        state->coded[chosen] = day;
        rate[chosen] = 0.0;
        total = 0.0;
        for (unsigned i = 0; i < RZ_SIM_ITEMS; i++)
            total += rate[i];
        if (total <= 0.0)
            return;
        hour += rz_rng_exponential(rng) / total * DAYS_PER_YEAR;
        if (hour >= 1.0)
            return;
    }
}

double rz_sim_live(const rz_sim_engine *engine, rz_sim_state *state, int32_t from, int32_t to,
                   const bool *live, rz_sim_item suppressed, rz_rng *rng)
{
    double watched = 0.0;
    for (int32_t day = from; day <= to;) {
        if (state->coded[RZ_SIM_DEATH] != RZ_DAY_NONE ||
            state->coded[RZ_SIM_LEAVING] != RZ_DAY_NONE)
            break;
        view seen;
        look(state, day, to, &seen);
        double rate[RZ_SIM_ITEMS], total = 0.0;
        for (unsigned i = 0; i < RZ_SIM_ITEMS; i++) {
            bool may = seen.of[i] == ABSENT && i != suppressed && (live == NULL || live[i]);
            rate[i] = may ? rate_of(engine, state, &seen, i) : 0.0;
            total += rate[i];
        }
        double watched_a_day = suppressed == RZ_SIM_ITEMS
                                   ? 0.0
                                   : rate_of(engine, state, &seen, suppressed) / DAYS_PER_YEAR;
        double stretch = (double)(seen.until - day);
        double wait = total > 0.0 ? rz_rng_exponential(rng) / total * DAYS_PER_YEAR : stretch;
        if (wait >= stretch) {
            watched += watched_a_day * stretch;
            day = seen.until;
            continue;
        }
        int32_t passed = (int32_t)wait;
        watched += watched_a_day * (double)(passed + 1);
        happen(state, rate, total, day + passed, wait - (double)passed, rng);
        day += passed + 1;
    }
    return watched;
}

void rz_sim_risk(const rz_sim_engine *engine, const rz_sim_state *state, rz_sim_item outcome,
                 int32_t index_day, int horizon_days, unsigned continuations, rz_rng *rng,
                 double *risk, double *standard_error)
{
    bool live[RZ_SIM_ITEMS];
    rz_sim_relevant(engine, outcome, live);
    double sum = 0.0, squares = 0.0;
    for (unsigned k = 0; k < continuations; k++) {
        rz_sim_state copy = *state;
        double watched =
            rz_sim_live(engine, &copy, index_day + 1, index_day + horizon_days, live, outcome, rng);
        double p = 1.0 - rz_exp(-watched);
        sum += p;
        squares += p * p;
    }
    double n = (double)continuations, mean = sum / n;
    double variance = continuations > 1 ? (squares - n * mean * mean) / (n - 1.0) : 0.0;
    *risk = mean;
    *standard_error = variance > 0.0 ? rz_sqrt(variance / n) : 0.0;
}
