/* Interrupted in every way we know (asked to stop, killed, disk full), a run goes on to the same
 * losses and the same weights as one that was left alone. */
#include "example.h"
#include "folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STEPS = 24 };

static char folder[] = "/tmp/rezept-resume-XXXXXX", cache[64], whole[64], broken[64];
static rz_dataset *dataset;

typedef struct stopper {
    uint64_t stop_at; /* step at which progress says stop; 0 = never */
    uint64_t limit_at;
} stopper;

static bool on_progress(void *context, const rz_progress_report *report)
{
    const stopper *s = context;
    if (s->limit_at > 0 && report->done == s->limit_at) {
        /* From here on no file grows beyond 2,000 bytes, as on a disk that is full. */
        const struct rlimit limit = {2000, 2000};
        (void)setrlimit(RLIMIT_FSIZE, &limit);
    }
    return s->stop_at == 0 || report->done != s->stop_at;
}

static rz_status train(const char *out, bool resume, stopper *s, uint64_t steps, rz_error *error)
{
    rz_run run;
    rz_train_result result;
    rz_progress progress = {on_progress, s};
    rz_pretrain_options o = example_pretrain_options(steps);
    o.train.save_steps = 5;
    o.train.progress = &progress;
    rz_status status = rz_run_open(&run, out, resume, false, error);
    if (status == RZ_OK && !run.finished)
        status = rz_pretrain(dataset, &run, NULL, &o, NULL, NULL, &result, error);
    if (status == RZ_OK && !run.finished)
        status = rz_run_finish(&run, error);
    rz_run_close(&run);
    return status;
}

static void remove_broken(void)
{
    char command[96];
    (void)snprintf(command, sizeof command, "rm -rf -- '%s'", broken);
    assert_int_equal(system(command), 0);
}

/* Finishes `broken` and compares it with the run that was left alone. */
static void check_same(void)
{
    rz_error error = {0};
    stopper never = {0};
    char path[96];
    size_t n_a, n_b;
    check_ok(train(broken, true, &never, STEPS, &error));
    char *a = example_losses(whole), *b = example_losses(broken);
    assert_string_equal(a, b);
    free(a);
    free(b);
    a = example_read(whole, "model.safetensors", &n_a);
    b = example_read(broken, "model.safetensors", &n_b);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    free(a);
    free(b);
    (void)snprintf(path, sizeof path, "%s/resume", broken);
    assert_int_not_equal(access(path, F_OK), 0);
    (void)snprintf(path, sizeof path, "%s/DONE", broken);
    assert_int_equal(access(path, F_OK), 0);
}

static bool looks_finished(void)
{
    char path[96];
    (void)snprintf(path, sizeof path, "%s/DONE", broken);
    return access(path, F_OK) == 0;
}

static int make_folder(void **state)
{
    (void)state;
    rz_error error = {0};
    stopper never = {0};
    if (temp_folder(folder) == NULL)
        return -1;
    (void)snprintf(cache, sizeof cache, "%s/cache.bin", folder);
    (void)snprintf(whole, sizeof whole, "%s/whole", folder);
    (void)snprintf(broken, sizeof broken, "%s/broken", folder);
    dataset = example_dataset(cache, 150, false);
    return train(whole, false, &never, STEPS, &error) == RZ_OK ? 0 : -1;
}

static int close_dataset(void **state)
{
    (void)state;
    rz_dataset_close(dataset);
    return 0;
}

static void asked_to_stop(void **state)
{
    (void)state;
    rz_error error = {0};
    for (uint64_t at = 1; at < STEPS; at += 6) {
        stopper s = {.stop_at = at};
        remove_broken();
        check_fails(train(broken, false, &s, STEPS, &error), RZ_E_CANCELED, "--resume continues");
        assert_false(looks_finished());
        check_same();
    }
}

static void killed_at_any_moment(void **state)
{
    (void)state;
    rz_rng rng;
    rz_rng_init(&rng, (uint64_t)time(NULL), 0);
    int killed = 0;
    remove_broken();
    for (int round = 0; round < 40 && !looks_finished(); round++) {
        pid_t child = fork();
        assert_int_not_equal(child, -1);
        if (child == 0) {
            stopper never = {0};
            _exit(train(broken, true, &never, STEPS, NULL) == RZ_OK ? 0 : 1);
        }
        /* Longer each time: on a busy machine the first steps alone may take a while. */
        const struct timespec pause = {
            .tv_nsec = 1000000L * (5 + rz_rng_below(&rng, 60 + 20 * (uint32_t)round))};
        (void)nanosleep(&pause, NULL);
        (void)kill(child, SIGKILL);
        int how = 0;
        assert_int_equal(waitpid(child, &how, 0), child);
        killed += WIFSIGNALED(how);
        if (!WIFSIGNALED(how))
            assert_int_equal(WEXITSTATUS(how), 0);
    }
    assert_true(killed > 0);
    stopper never = {0};
    if (!looks_finished())
        assert_int_equal(train(broken, true, &never, STEPS, NULL), RZ_OK);
    check_same();
}

/* Killed when the model was finished and its state not yet removed. */
static void killed_at_the_very_end(void **state)
{
    (void)state;
    rz_error error = {0};
    stopper never = {0};
    char path[128];
    remove_broken();
    check_ok(train(broken, false, &never, STEPS, &error));
    (void)snprintf(path, sizeof path, "%s/resume", broken);
    check_ok(rz_folder_make(path, &error));
    (void)snprintf(path, sizeof path, "%s/resume/state.json", broken);
    check_ok(rz_file_write(path, "{}", 2, &error));
    check_same();
}

/* The disk fills up while a state is being saved: a clear error, and the state before it counts. */
static void disk_full_while_saving(void **state)
{
    (void)state;
    rz_error error = {0};
    int report[2];
    remove_broken();
    assert_int_equal(pipe(report), 0);
    pid_t child = fork();
    assert_int_not_equal(child, -1);
    if (child == 0) {
        stopper s = {.limit_at = 12};
        rz_error failure = {0};
        (void)signal(SIGXFSZ, SIG_IGN);
        rz_status status = train(broken, false, &s, STEPS, &failure);
        (void)!write(report[1], failure.text, sizeof failure.text);
        _exit((int)status);
    }
    char text[sizeof error.text] = "";
    int how = 0;
    assert_true(read(report[0], text, sizeof text) > 0);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how));
    assert_int_not_equal(WEXITSTATUS(how), RZ_OK);
    assert_non_null(strstr(text, "cannot write"));
    assert_false(looks_finished());
    check_same();
    (void)close(report[0]);
    (void)close(report[1]);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    rz_error error = {0};
    stopper s = {.stop_at = 7}, never = {0};
    check_fails(train(whole, false, &never, STEPS, &error), RZ_E_CONFLICT, "--force");
    check_ok(train(whole, true, &never, STEPS, &error)); /* nothing is left to do */
    remove_broken();
    check_fails(train(broken, false, &s, STEPS, &error), RZ_E_CANCELED, "step 7");
    check_fails(train(broken, false, &never, STEPS, &error), RZ_E_CONFLICT, "--resume");
    check_fails(train(broken, true, &never, STEPS + 1, &error), RZ_E_CONFLICT, "other settings");
    check_same();
}

static void damaged_state_is_named(void **state)
{
    (void)state;
    rz_error error = {0};
    stopper s = {.stop_at = 7}, never = {0};
    char path[96];
    remove_broken();
    check_fails(train(broken, false, &s, STEPS, &error), RZ_E_CANCELED, "step 7");
    (void)snprintf(path, sizeof path, "%s/log.csv", broken);
    assert_int_equal(truncate(path, 50), 0);
    check_fails(train(broken, true, &never, STEPS, &error), RZ_E_CORRUPT, "log.csv is shorter");
    (void)snprintf(path, sizeof path, "%s/resume/state.json", broken);
    check_ok(rz_file_write(path, "{\"slot\": 7}", 11, &error));
    check_fails(train(broken, true, &never, STEPS, &error), RZ_E_CORRUPT, "start over");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(asked_to_stop),
                                       cmocka_unit_test(killed_at_any_moment),
                                       cmocka_unit_test(killed_at_the_very_end),
                                       cmocka_unit_test(disk_full_while_saving),
                                       cmocka_unit_test(what_does_not_fit_is_refused),
                                       cmocka_unit_test(damaged_state_is_named)};
    return cmocka_run_group_tests(tests, make_folder, close_dataset);
}
