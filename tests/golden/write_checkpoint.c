/* Writes a small checkpoint whose values a reader can know beforehand, then has read_checkpoint.py
 * read it: write_checkpoint PYTHON SCRIPT. Exits with the script's status. */
#include "base/file.h"
#include "folder.h"
#include "model/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static rz_status write_model(const char *folder, rz_error *error)
{
    const char *heads[] = {"ckd", "pregabalin"};
    rz_config config = {.family = "encoder",
                        .size = "custom",
                        .hidden = 32,
                        .layers = 2,
                        .heads = 4,
                        .feed_forward = 48,
                        .age_hidden = 16,
                        .age_bins = 1200,
                        .context = 64,
                        .dropout = 0.1f};
    const rz_checkpoint_origin origin = {.seed = 5, .code_version = REZEPT_VERSION};
    rz_vocabulary *vocabulary = NULL;
    rz_model *model = NULL;
    rz_status status = rz_vocabulary_synthetic(101, &vocabulary, error);
    if (status == RZ_OK)
        status = rz_model_blank(&config, vocabulary, heads, 2, NULL, &model, error);
    for (size_t t = 0; status == RZ_OK && t < model->n_tensors; t++)
        for (size_t i = 0; i < model->tensors[t].count; i++)
            model->parameters[model->tensors[t].offset + i] =
                (float)((double)t + (double)i / 1024.0);
    if (status == RZ_OK)
        status = rz_checkpoint_begin(folder, error);
    if (status == RZ_OK)
        status = rz_checkpoint_write(folder, model, &origin, error);
    if (status == RZ_OK)
        status = rz_checkpoint_finish(folder, error);
    rz_model_free(model);
    rz_vocabulary_free(vocabulary);
    return status;
}

int main(int argc, char **argv)
{
    rz_error error = {0};
    char folder[] = "/tmp/rezept-golden-XXXXXX";
    if (argc != 3 || temp_folder(folder) == NULL) {
        (void)fprintf(stderr, "usage: %s PYTHON SCRIPT\n", argv[0]);
        return 2;
    }
    rz_status status = rz_hash_setup(&error);
    if (status == RZ_OK)
        status = write_model(folder, &error);
    if (status != RZ_OK) {
        (void)fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        (void)execl(argv[1], argv[1], argv[2], folder, (char *)NULL);
        _exit(127);
    }
    int ended = 0;
    if (child < 0 || waitpid(child, &ended, 0) != child || !WIFEXITED(ended))
        return 1;
    return WEXITSTATUS(ended);
}
