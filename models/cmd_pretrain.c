/* rezept-train pretrain: a store in, a model that knows histories out. */
#include "base/size.h"
#include "train/pretrain.h"
#include "train_options.h"

#include <string.h>

static const rz_option table[] = {
    {"db", RZ_OPTION_TEXT, "rezept.db", .value = "FILE", .help = "database to learn from"},
    {"out", RZ_OPTION_TEXT, NULL, .value = "DIR", .help = "folder of the model, made here"},
    {"family", RZ_OPTION_TEXT, "encoder", .value = "NAME", .help = "model family"},
    {"size", RZ_OPTION_TEXT, "2.2m", .value = "SIZE", .help = "2.2m, 4.7m, 11m, 32m or 101m"},
    {"vocab", RZ_OPTION_TEXT, NULL, .value = "FILE",
     .help = "vocab.json (default: made from the training split)"},
    {"min-patients", RZ_OPTION_INT, "0", .max = 1e9, .value = "N",
     .help = "patients that a code of the vocabulary needs; 0 = 0.1 %, at least 2"},
    {"mask", RZ_OPTION_TEXT, "token", .value = "WHAT",
     .help = "token, or code: hide every occurrence of a chosen code"},
    {"mask-share", RZ_OPTION_REAL, "0.15", .min = 0.01, .max = 0.9, .value = "X",
     .help = "share of the codes to hide; more of them teach a short run more"},
    {"norm", RZ_OPTION_TEXT, "post", .value = "WHERE", .help = "post or pre"},
    {"pooling", RZ_OPTION_TEXT, "cls", .value = "HOW", .help = "cls or mean"},
    {"repeat-days", RZ_OPTION_INT, "0", .max = 36525, .value = "N",
     .help = "leave out a code that was kept less than N days ago (refills); 0 = keep all"},
    {"recency", RZ_OPTION_SWITCH, "false",
     .help = "tokens also tell how long ago they are: needed where what is new counts most"},
    {"tuning-tokens", RZ_OPTION_INT, "20000", .max = 1e12, .value = "N",
     .help = "the tuning loss is taken on about so many tokens; 0 = all"},
    FACILITY_OPTION_ROWS,
    TRAIN_OPTION_ROWS("0.1", "2048", "0.01"),
};

static const char usage[] =
    "usage: rezept-train pretrain --db FILE --out DIR (--minutes X | --epochs X | --steps N)\n\n"
    "Learns histories by recovering hidden codes and ages. Held-out patients are not looked "
    "at.\n\n";

static const char *const listed[] = {"size",        "mask",         "mask-share",
                                     "repeat-days", "recency",      "norm",
                                     "pooling",     "steps",        "epochs",
                                     "minutes",     "lr",           "lr-factor",
                                     "warmup",      "clip",         "weight-decay",
                                     "dropout",     "batch-tokens", "precision",
                                     "seed",        "fold",         "hold-out-facility",
                                     "facility"};

static rz_status choose(const rz_options *options, const char *name, const char *first,
                        const char *second, int *out, rz_error *error)
{
    const char *text = rz_options_text(options, name);
    if (strcmp(text, first) != 0 && strcmp(text, second) != 0)
        return rz_fail(error, RZ_E_USAGE, "--%s %.40s: %s or %s", name, text, first, second);
    *out = strcmp(text, second) == 0;
    return RZ_OK;
}

static rz_status read_config(const rz_options *options, rz_pretrain_options *out, rz_error *error)
{
    int mask = 0, norm = 0, pooling = 0;
    const char *name = rz_options_text(options, "family");
    const rz_family *family = rz_family_find(name);
    if (family == NULL)
        return rz_fail(error, RZ_E_USAGE, "there is no model family %.40s", name);
    rz_status status =
        family->config_for_size(rz_options_text(options, "size"), &out->config, error);
    if (status == RZ_OK)
        status = choose(options, "mask", "token", "code", &mask, error);
    if (status == RZ_OK)
        status = choose(options, "norm", "post", "pre", &norm, error);
    if (status == RZ_OK)
        status = choose(options, "pooling", "cls", "mean", &pooling, error);
    if (status == RZ_OK)
        status = train_fold_read(rz_options_text(options, "fold"), &out->split, error);
    out->config.repeat_days = (int32_t)rz_options_int(options, "repeat-days");
    out->config.recency = rz_options_switch(options, "recency");
    out->config.mask_share = (float)rz_options_real(options, "mask-share");
    out->config.masking = mask ? RZ_MASKING_CODE : RZ_MASKING_TOKEN;
    out->config.norm = norm ? RZ_NORM_PRE : RZ_NORM_POST;
    out->config.pooling = pooling ? RZ_POOLING_MEAN : RZ_POOLING_CLS;
    out->config.dropout = (float)rz_options_real(options, "dropout");
    out->min_patients = (uint32_t)rz_options_int(options, "min-patients");
    out->tuning_tokens = (size_t)rz_options_int(options, "tuning-tokens");
    return status;
}

static rz_status train(const rz_options *options, rz_run *run, rz_error *error)
{
    const rz_progress progress = program_progress();
    const rz_store_options store = rz_store_options_defaults();
    const char *vocab = rz_options_text(options, "vocab");
    rz_pretrain_options o = {.train = train_options_read(options, &progress)};
    rz_dataset *dataset = NULL;
    rz_vocabulary *vocabulary = NULL;
    rz_pool *pool = NULL;
    rz_model *model = NULL;
    rz_train_result result;
    rz_status status = read_config(options, &o, error);
    if (status == RZ_OK)
        status = train_facilities_read(options, &o.facilities, error);
    if (status == RZ_OK)
        status =
            train_precision_read(rz_options_text(options, "precision"), &o.train.precision, error);
    if (status == RZ_OK)
        status = rz_train_options_check(&o.train, error);
    if (status == RZ_OK && vocab != NULL)
        status = rz_vocabulary_read(vocab, &vocabulary, error);
    if (status == RZ_OK)
        status = rz_run_dataset(run, rz_options_text(options, "db"), &store, &o.facilities,
                                &progress, &dataset, error);
    if (status == RZ_OK)
        status = rz_pool_new((unsigned)rz_options_int(options, "threads"), &pool, error);
    if (status == RZ_OK)
        status = rz_pretrain(dataset, run, vocabulary, &o, pool, &model, &result, error);
    if (status == RZ_OK)
        status = curves_write(run->out, error);
    if (status == RZ_OK)
        status = card_write(&(card){.folder = run->out,
                                    .title = "Pretrained model",
                                    .model = model,
                                    .result = &result,
                                    .options = options,
                                    .option_names = listed,
                                    .n_options = RZ_COUNT(listed),
                                    .data_sha256 = rz_dataset_sha256(dataset),
                                    .learnt_from = &o.facilities},
                            error);
    if (status == RZ_OK)
        status = rz_run_finish(run, error);
    if (status == RZ_OK)
        train_result_print("pretrained", run->out, &result);
    rz_model_free(model);
    rz_dataset_close(dataset);
    rz_vocabulary_free(vocabulary);
    rz_pool_free(pool);
    return status;
}

rz_status cmd_pretrain(int argc, char *const *argv, rz_error *error)
{
    rz_options *options = NULL;
    rz_run run = {.lock = -1};
    const char *out = NULL;
    bool stop = false;
    rz_status status =
        program_options(table, RZ_COUNT(table), usage, false, argc, argv, &options, &stop, error);
    if (status == RZ_OK && !stop) {
        status = train_text_required(options, "out", &out, error);
        if (status == RZ_OK)
            status = rz_run_open(&run, out, rz_options_switch(options, "resume"),
                                 rz_options_switch(options, "force"), error);
        if (status == RZ_OK && run.finished)
            (void)printf("%s is finished; nothing is left to do\n", out);
        else if (status == RZ_OK)
            status = train(options, &run, error);
        rz_run_close(&run);
    }
    rz_options_free(options);
    return status;
}
