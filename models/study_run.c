/* Works off the cells of a study: each is one or more calls of rezept-train itself, so that a cell
 * has its own memory and costs, can be stopped, and leaves nothing behind when it dies. */
#define _GNU_SOURCE /* wait4 */
#include "base/file.h"
#include "base/size.h"
#include "model/model.h"
#include "model/safetensors.h"
#include "study.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 2, LOOK_MS = 200, LOG_TAIL = 600 };

/* A cell that runs. */
typedef struct slot {
    planned_cell *cell; /* NULL: free */
    study_commands commands;
    size_t at; /* the program that runs */
    pid_t child;
    double begun, cpu_seconds;
    long peak_kb;
} slot;

typedef struct runner {
    study_plan *plan;
    slot slots[SLOTS];
    double started;
    double spent[3], expected[3]; /* seconds of finished cells of a kind, and as estimated */
} runner;

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static rz_status no_memory(const planned_cell *c, rz_error *error)
{
    return rz_fail(error, RZ_E_NO_MEMORY, "no memory for cell %s", c->name);
}

/* ---- programs ---- */

/* The next program of a cell, its output at the end of the cell's log. */
static rz_status start_program(const runner *r, slot *s, rz_error *error)
{
    char *log = study_path(r->plan->settings, "logs", s->cell->name, ".txt");
    if (log == NULL)
        return no_memory(s->cell, error);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    rz_status status = out < 0 ? rz_fail_errno(error, errno, "cannot open %s", log) : RZ_OK;
    free(log);
    if (status != RZ_OK)
        return status;
    s->child = fork();
    if (s->child == 0) {
        /* Ctrl-C on a terminal reaches all of its group: the study tells its cells itself. */
        (void)setpgid(0, 0);
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        int nothing = open("/dev/null", O_RDONLY);
        if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
            dup2(out, STDERR_FILENO) < 0)
            _exit(127);
        (void)execv("/proc/self/exe", s->commands.argv[s->at]);
        _exit(127);
    }
    (void)close(out);
    return s->child > 0 ? RZ_OK
                        : rz_fail_errno(error, errno, "cannot start cell %s", s->cell->name);
}

/* The last lines of a cell's log in one. */
static void log_tail(const study_settings *settings, const planned_cell *cell, char out[LOG_TAIL])
{
    char *path = study_path(settings, "logs", cell->name, ".txt");
    FILE *file = path != NULL ? fopen(path, "rbe") : NULL;
    size_t n = 0;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file), from = size > LOG_TAIL - 1 ? size - (LOG_TAIL - 1) : 0;
        if (fseek(file, from, SEEK_SET) == 0)
            n = fread(out, 1, LOG_TAIL - 1, file);
    }
    out[n] = '\0';
    if (file != NULL)
        (void)fclose(file);
    free(path);
    while (n > 0 && out[n - 1] == '\n')
        out[--n] = '\0';
    char *last = strrchr(out, '\n');
    if (last != NULL)
        memmove(out, last + 1, strlen(last));
}

/* ---- results ---- */

/* The model of a cell whose scores are made is not needed again, unless the daemon may serve it, it
 * is to be tried at held-out facilities or another begins with it. */
static bool is_kept(const study_settings *s, const planned_cell *c)
{
    if (c->kind != STUDY_FINETUNE || c->transfer != STUDY_GRID || c->labels != 0)
        return false;
    return c->init == STUDY_ONSET
               ? s->begin_onset
               : c->init == STUDY_PRETRAINED && (c->seed == 1 || s->hold_out.n > 0);
}

static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder != NULL)
        (void)closedir(folder);
    (void)rmdir(path);
}

static char *model_folder(const study_settings *s, const planned_cell *c)
{
    if (c->kind != STUDY_PRETRAIN)
        return study_path(s, "models", c->name, "");
    return study_path(s, c->transfer == STUDY_LOCAL ? "local" : "pretrained", s->sizes[c->size],
                      "");
}

/* The counts that a training program has printed: "pretrained: N steps, M tokens, …". */
static json_int_t printed_tokens(const study_settings *s, const planned_cell *c)
{
    json_int_t tokens = 0;
    char line[1024], *path = study_path(s, "logs", c->name, ".txt");
    FILE *file = path != NULL ? fopen(path, "rbe") : NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *at = strstr(line, " steps, ");
        if (at != NULL && strstr(at, " tokens, ") != NULL)
            tokens = strtoll(at + 8, NULL, 10);
    }
    if (file != NULL)
        (void)fclose(file);
    free(path);
    return tokens;
}

/* Parameters as show counts them, from the folder's config.json; 0 when it cannot be read. */
static size_t parameters_of(const char *folder)
{
    rz_error ignored = {0};
    rz_config config;
    size_t n = 0, sum = 0;
    char *path = rz_path_join(folder, "config.json");
    json_t *json = path != NULL ? json_load_file(path, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *model = json_object_get(json, "model");
    const char *name = json_string_value(json_object_get(model, "family"));
    const rz_family *family = name != NULL ? rz_family_find(name) : NULL;
    rz_tensor_spec *tensors = calloc(RZ_SAFETENSORS_MAX, sizeof *tensors);
    if (family != NULL && tensors != NULL &&
        family->config_parse(model, &config, &ignored) == RZ_OK &&
        family->tensor_table(&config, tensors, RZ_SAFETENSORS_MAX, &n, &ignored) == RZ_OK)
        for (size_t i = 0; i < n; i++)
            sum += tensors[i].count;
    free(tensors);
    json_decref(json);
    free(path);
    return sum;
}

/* What log.csv says of the tuning split: the curve as [[tokens, loss], …], its end and its best. */
static void add_curve(json_t *out, const char *folder, double tokens)
{
    json_t *curve = json_array();
    char line[1024], *path = rz_path_join(folder, "log.csv");
    FILE *file = path != NULL ? fopen(path, "rbe") : NULL;
    double best = NAN;
    long steps = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *end = NULL;
        long step = strtol(line, &end, 10);
        const char *split = end != line ? strchr(end + 1, ',') : NULL;
        if (split == NULL)
            continue; /* the header */
        steps = step;
        if (strncmp(split + 1, "tuning,", 7) != 0)
            continue;
        double loss = strtod(split + 8, NULL);
        best = isnan(best) ? loss : fmin(best, loss);
        (void)json_array_append_new(curve, json_pack("[f, f]", (double)step, loss));
    }
    if (file != NULL)
        (void)fclose(file);
    free(path);
    for (size_t i = 0; steps > 0 && i < json_array_size(curve); i++) {
        json_t *point = json_array_get(curve, i);
        double share = json_number_value(json_array_get(point, 0)) / (double)steps;
        (void)json_array_set_new(point, 0, json_real(share * tokens));
    }
    (void)json_object_set_new(out, "steps", json_integer(steps));
    (void)json_object_set_new(out, "tuning_loss", isnan(best) ? json_null() : json_real(best));
    (void)json_object_set_new(out, "loss_by_tokens", curve);
}

/* What only models have. */
static void add_model(json_t *out, const study_settings *s, const planned_cell *c)
{
    char *folder = model_folder(s, c);
    json_int_t tokens = printed_tokens(s, c);
    if (folder == NULL)
        return;
    (void)json_object_set_new(out, "tokens", json_integer(tokens));
    (void)json_object_set_new(out, "parameters", json_integer((json_int_t)parameters_of(folder)));
    add_curve(out, folder, (double)tokens);
    if (c->kind == STUDY_PRETRAIN || is_kept(s, c))
        (void)json_object_set_new(out, "model", json_string(folder + strlen(s->out) + 1));
    free(folder);
}

static json_t *commands_json(const study_commands *c)
{
    json_t *out = json_array();
    for (size_t i = 0; i < c->n; i++) {
        rz_buffer line;
        rz_buffer_init(&line, 1 << 20);
        rz_status status = RZ_OK;
        for (size_t k = 0; status == RZ_OK && c->argv[i][k] != NULL; k++)
            status = rz_buffer_addf(&line, "%s%s", k > 0 ? " " : "", c->argv[i][k]);
        (void)json_array_append_new(out, json_string(status == RZ_OK ? line.data : ""));
        rz_buffer_done(&line);
    }
    return out;
}

static json_t *cell_json(const runner *r, const slot *s)
{
    static const char *const kinds[] = {"pretrain", "finetune", "baseline"};
    const study_settings *settings = r->plan->settings;
    const planned_cell *c = s->cell;
    bool baseline = c->kind == STUDY_BASELINE;
    json_t *tasks = json_array();
    for (size_t t = 0; c->kind != STUDY_PRETRAIN && t < settings->n_tasks; t++)
        if (c->task == SIZE_MAX || c->task == t)
            (void)json_array_append_new(tasks, json_string(settings->tasks[t].name));
    json_t *json = json_pack(
        "{s:s, s:s, s:s?, s:s?, s:s?, s:o, s:I, s:I, s:f, s:f, s:I, s:n, s:n, s:n, s:o}", "cell",
        c->name, "kind", kinds[c->kind], "size", baseline ? NULL : settings->sizes[c->size], "init",
        c->kind == STUDY_FINETUNE ? study_init_name(c->init) : NULL, "engine",
        baseline ? settings->engines[c->engine] : NULL, "tasks", tasks, "labels",
        (json_int_t)c->labels, "seed", (json_int_t)c->seed, "seconds", now_s() - s->begun,
        "cpu_seconds", s->cpu_seconds, "peak_bytes", (json_int_t)s->peak_kb * 1024, "model",
        "parameters", "tokens", "commands", commands_json(&s->commands));
    if (json != NULL && c->transfer != STUDY_GRID)
        (void)json_object_set_new(json, "transfer", json_string(study_transfer_name(c->transfer)));
    if (json != NULL && !baseline && c->transfer != STUDY_ZERO_SHOT) /* that has none of its own */
        add_model(json, settings, c);
    return json;
}

static rz_status write_json(const study_settings *s, const char *folder, const planned_cell *c,
                            json_t *json, rz_error *error)
{
    char *path = study_path(s, folder, c->name, ".json");
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    rz_status status = path != NULL && text != NULL ? rz_file_write(path, text, strlen(text), error)
                                                    : no_memory(c, error);
    free(text);
    free(path);
    json_decref(json);
    return status;
}

static rz_status finish(runner *r, slot *s, rz_error *error)
{
    planned_cell *c = s->cell;
    const study_settings *settings = r->plan->settings;
    rz_status status = write_json(settings, "cells", c, cell_json(r, s), error);
    if (status != RZ_OK)
        return status;
    c->state = STUDY_DONE;
    r->spent[c->kind] += now_s() - s->begun;
    r->expected[c->kind] += c->seconds;
    char *folder = model_folder(settings, c);
    if (folder != NULL && c->kind != STUDY_PRETRAIN && !is_kept(settings, c))
        remove_folder(folder);
    free(folder);
    return RZ_OK;
}

/* A cell's program has ended. */
static rz_status ended(runner *r, slot *s, int how, rz_error *error)
{
    char tail[LOG_TAIL];
    planned_cell *c = s->cell;
    const study_settings *settings = r->plan->settings;
    int code = WIFEXITED(how) ? WEXITSTATUS(how) : -1;
    s->child = 0;
    if (code == 0 && ++s->at < s->commands.n)
        return start_program(r, s, error);
    rz_status status = RZ_OK;
    if (code == 0) {
        status = finish(r, s, error);
    } else {
        log_tail(settings, c, tail);
        if (code == rz_status_exit_code(RZ_E_INVALID)) { /* the data do not allow it */
            c->state = STUDY_SKIPPED;
            status = write_json(settings, "skipped", c,
                                json_pack("{s:s, s:s}", "cell", c->name, "reason", tail), error);
        } else if (WIFSIGNALED(how)) {
            status =
                rz_fail(error, RZ_E_IO, "cell %s was ended by signal %d", c->name, WTERMSIG(how));
        } else {
            status = rz_fail(error, RZ_E_IO, "cell %s ended with %d: %s", c->name, code, tail);
        }
    }
    study_commands_done(&s->commands);
    s->cell = NULL;
    return status;
}

/* ---- who runs when ---- */

static bool ready(const study_plan *p, const planned_cell *c)
{
    return c->state == STUDY_WAITING &&
           (c->needs == SIZE_MAX || p->cells[c->needs].state == STUDY_DONE);
}

/* Without what it begins with a cell is not possible either. */
static rz_status skip_orphans(const study_plan *p, rz_error *error)
{
    rz_status status = RZ_OK;
    for (size_t i = 0; status == RZ_OK && i < p->n_cells; i++) {
        planned_cell *c = &p->cells[i];
        if (c->state != STUDY_WAITING || c->needs == SIZE_MAX ||
            p->cells[c->needs].state != STUDY_SKIPPED)
            continue;
        c->state = STUDY_SKIPPED;
        status = write_json(p->settings, "skipped", c,
                            json_pack("{s:s, s:s+}", "cell", c->name, "reason",
                                      "not possible: ", p->cells[c->needs].name),
                            error);
    }
    return status;
}

static rz_status start_cells(runner *r, rz_error *error)
{
    study_plan *p = r->plan;
    rz_status status = skip_orphans(p, error);
    for (size_t i = 0; status == RZ_OK && i < SLOTS; i++) {
        slot *s = &r->slots[i];
        const slot *other = &r->slots[(i + 1) % SLOTS];
        if (s->cell != NULL || (other->cell != NULL && !other->cell->small))
            continue;
        /* The next in order; beside a small one, the next small one. */
        size_t k = 0;
        while (k < p->n_cells &&
               !(ready(p, &p->cells[k]) && (other->cell == NULL || p->cells[k].small)))
            k++;
        if (k == p->n_cells)
            continue;
        planned_cell *c = &p->cells[k];
        unsigned all = p->settings->threads, threads = c->small && all > 1 ? all / 2 : all;
        *s = (slot){.cell = c, .begun = now_s()};
        c->state = STUDY_RUNNING;
        status = study_commands_make(p, c, threads, &s->commands, error);
        if (status == RZ_OK)
            status = start_program(r, s, error);
    }
    return status;
}

static size_t count(const study_plan *p, study_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_cells; i++)
        n += p->cells[i].state == state;
    return n;
}

/* Estimates of a kind are corrected by what its finished cells took. */
static double seconds_left(const runner *r)
{
    double left = 0.0;
    for (size_t i = 0; i < r->plan->n_cells; i++) {
        const planned_cell *c = &r->plan->cells[i];
        if (c->state != STUDY_WAITING && c->state != STUDY_RUNNING)
            continue;
        double pace = r->expected[c->kind] > 0.0 ? r->spent[c->kind] / r->expected[c->kind] : 1.0;
        left += c->seconds * pace * (c->small ? 0.5 : 1.0);
    }
    for (size_t i = 0; i < SLOTS; i++)
        if (r->slots[i].cell != NULL)
            left -= now_s() - r->slots[i].begun;
    return left > 0.0 ? left : 0.0;
}

/* Ends what runs: asks first, and takes its programs' saving for done after a while. */
static void stop_cells(runner *r)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (r->slots[i].child > 0)
            (void)kill(r->slots[i].child, SIGINT);
    for (size_t i = 0; i < SLOTS; i++) {
        slot *s = &r->slots[i];
        if (s->child > 0)
            while (waitpid(s->child, NULL, 0) < 0 && errno == EINTR)
                ;
        study_commands_done(&s->commands);
    }
}

rz_status study_run(study_plan *plan, const rz_progress *progress, rz_error *error)
{
    runner r = {.plan = plan, .started = now_s()};
    rz_status status = RZ_OK;
    while (status == RZ_OK) {
        status = start_cells(&r, error);
        bool busy = false;
        for (size_t i = 0; status == RZ_OK && i < SLOTS; i++) {
            slot *s = &r.slots[i];
            int how;
            struct rusage used;
            if (s->child > 0 && wait4(s->child, &how, WNOHANG, &used) == s->child) {
                s->cpu_seconds += (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
                                  1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
                s->peak_kb = used.ru_maxrss > s->peak_kb ? used.ru_maxrss : s->peak_kb;
                status = ended(&r, s, how, error);
            }
            busy = busy || s->child > 0;
        }
        if (status != RZ_OK || (!busy && count(plan, STUDY_WAITING) == 0))
            break;
        if (plan->settings->minutes > 0.0 && now_s() - r.started > 60.0 * plan->settings->minutes)
            break;
        const rz_progress_report report = {.phase = "study",
                                           .done =
                                               count(plan, STUDY_DONE) + count(plan, STUDY_SKIPPED),
                                           .total = plan->n_cells,
                                           .unit = "cells",
                                           .rate_per_s = NAN,
                                           .loss = NAN,
                                           .seconds_left = seconds_left(&r)};
        if (!rz_progress_tell(progress, &report))
            status = rz_fail(error, RZ_E_CANCELED,
                             "stopped; the same command goes on with what is left");
        const struct timespec look = {.tv_nsec = LOOK_MS * 1000000};
        (void)nanosleep(&look, NULL);
    }
    stop_cells(&r);
    return status;
}
