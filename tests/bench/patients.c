/* Patients for the benchmarks, the models that read them, and what that costs in operations. */
#include "patients.h"

#include "bench.h"
#include "store/store.h"

#include <string.h>

/* SplitMix64 (Steele, Lea and Flood 2014): number i of the stream. */
static uint64_t mix(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t bench_length(size_t patient)
{
    return BENCH_SHORTEST + (size_t)(mix(patient) % (BENCH_LONGEST - BENCH_SHORTEST + 1));
}

static void *arena_memory(bench_patients *p, size_t count, size_t size)
{
    void *memory = rz_arena_alloc(&p->arena, count, size);
    if (memory == NULL) {
        (void)fprintf(stderr, "bench: no memory for the patients\n");
        exit(8);
    }
    return memory;
}

static void reserve(bench_patients *p, size_t n)
{
    *p = (bench_patients){0};
    rz_arena_init(&p->arena, (size_t)1 << 32);
    p->list = bench_memory(n, sizeof *p->list);
    p->as_of = bench_memory(n, sizeof *p->as_of);
}

/* About four codes a claim and a claim a month. */
static void add_random(bench_patients *p, size_t number, size_t length)
{
    enum { BORN = -10000, EACH_CLAIM = 4, MONTH = 30 };
    size_t n = length > 2 ? length - 2 : 0;
    rz_timeline_event *events = arena_memory(p, n + 1, sizeof *events);
    rz_timeline *timeline = arena_memory(p, 1, sizeof *timeline);
    int32_t day = (int32_t)(mix(number * 977) % 10000);
    for (size_t i = 0; i < n; i++) {
        size_t code = (size_t)(mix(number << 20 | i) % BENCH_CODES);
        const rz_vocabulary_entry *entry = &p->vocabulary->entries[code];
        day += i % EACH_CLAIM == 0 ? MONTH : 0;
        events[i] = (rz_timeline_event){.day = day,
                                        .known_day = day,
                                        .kind = (uint8_t)entry->kind,
                                        .system = (uint8_t)entry->system,
                                        .value = NAN,
                                        .code = entry->code};
    }
    *timeline = (rz_timeline){.patient = (int64_t)number + 1,
                              .hash = mix(number),
                              .sex = number % 2 ? RZ_SEX_MALE : RZ_SEX_FEMALE,
                              .birth_day = BORN,
                              .n_events = n,
                              .events = events};
    p->as_of[p->n] = day + MONTH;
    p->list[p->n++] = timeline;
}

static void synthetic_codes(bench_patients *p)
{
    rz_error error = {0};
    must(rz_vocabulary_synthetic(BENCH_CODES, &p->vocabulary, &error), &error);
}

void bench_patients_random(bench_patients *patients, size_t n, size_t length)
{
    reserve(patients, n);
    synthetic_codes(patients);
    for (size_t i = 0; i < n; i++)
        add_random(patients, i, length > 0 ? length : bench_length(i));
}

/* Which eighth of the population, by length, a patient is in; equal lengths by number. */
static unsigned eighth(size_t patient)
{
    size_t rank = 0;
    for (size_t i = 0; i < BENCH_POPULATION; i++)
        rank += bench_length(i) < bench_length(patient) ||
                (bench_length(i) == bench_length(patient) && i < patient);
    return (unsigned)(rank * 8 / BENCH_POPULATION);
}

void bench_patients_share(bench_patients *patients, unsigned share)
{
    unsigned wanted = share >= 4 ? 1u << 1 | 1u << 6 : share >= 2 ? 0xa5 : 0xff;
    reserve(patients, BENCH_POPULATION);
    synthetic_codes(patients);
    for (size_t i = 0; i < BENCH_POPULATION; i++)
        if ((wanted >> eighth(i) & 1) != 0)
            add_random(patients, i, bench_length(i));
}

/* Tokens as the encoder will have them: diagnoses and medications that are not suspected. */
static size_t tokens_of(const rz_timeline *timeline)
{
    size_t n = 2;
    for (size_t i = 0; i < timeline->n_events; i++)
        n += (timeline->events[i].kind == RZ_KIND_DIAGNOSIS ||
              timeline->events[i].kind == RZ_KIND_MEDICATION) &&
             (timeline->events[i].flags & RZ_EVENT_SUSPECTED) == 0;
    return n;
}

void bench_patients_stored(bench_patients *patients, const char *db, size_t n, size_t least)
{
    rz_error error = {0};
    rz_store *store = NULL;
    rz_vocabulary_builder *builder = NULL;
    rz_patient found[64];
    size_t n_found = 1;
    reserve(patients, n);
    must(rz_store_open(db, NULL, &store, &error), &error);
    must(rz_vocabulary_builder_new(rz_code_levels_defaults(), &builder, &error), &error);
    for (rz_patient_key after = 0; n_found > 0 && patients->n < n;) {
        must(rz_store_patients(store, after, NULL, found, 64, &n_found, &error), &error);
        for (size_t i = 0; i < n_found && patients->n < n; i++) {
            rz_timeline *timeline = NULL;
            after = found[i].key;
            must(rz_store_timeline(store, after, RZ_DAY_MAX, RZ_RECORDED_NOW, &patients->arena,
                                   &timeline, &error),
                 &error);
            if (tokens_of(timeline) < BENCH_SHORTEST)
                continue;
            must(rz_vocabulary_builder_add(builder, timeline, &error), &error);
            patients->as_of[patients->n] = found[i].last_day;
            patients->list[patients->n++] = timeline;
        }
    }
    if (patients->n < least) {
        (void)fprintf(stderr, "bench: %s has %zu patients of %d tokens or more, %zu are needed\n",
                      db, patients->n, BENCH_SHORTEST, least);
        exit(2);
    }
    must(rz_vocabulary_builder_finish(builder, 0, &patients->vocabulary, &error), &error);
    rz_vocabulary_builder_free(builder);
    rz_store_close(store);
}

void bench_patients_done(bench_patients *patients)
{
    rz_vocabulary_free(patients->vocabulary);
    rz_arena_done(&patients->arena);
    free(patients->list);
    free(patients->as_of);
    *patients = (bench_patients){0};
}

void bench_batch(const rz_model *model, const bench_patients *patients, size_t first, size_t n,
                 rz_batch *out)
{
    rz_error error = {0};
    must(model->family->batch_build(model, patients->list + first, patients->as_of + first, n, out,
                                    &error),
         &error);
}

rz_model *bench_model(const char *size, const bench_patients *patients, rz_pool *pool)
{
    static const char *const heads[] = {"one", "two", "three", "four"};
    rz_error error = {0};
    rz_config config;
    rz_model *model = NULL;
    must(rz_family_find("encoder")->config_for_size(size, &config, &error), &error);
    must(rz_model_new(&config, patients->vocabulary, heads, 4, 1, pool, &model, &error), &error);
    return model;
}
