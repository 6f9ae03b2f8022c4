/* Folders of test programs, which leave nothing behind, failed or not. */
#ifndef RZ_TESTS_FOLDER_H
#define RZ_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    pid_t owner; /* a child that exits removes nothing */
    size_t n;
    char path[4][64];
} temp_folders;

static inline void temp_folders_remove(void)
{
    for (size_t i = 0; getpid() == temp_folders.owner && i < temp_folders.n; i++) {
        char command[96];
        (void)snprintf(command, sizeof command, "rm -rf -- '%s'", temp_folders.path[i]);
        if (system(command) != 0)
            (void)fprintf(stderr, "# %s is left behind\n", temp_folders.path[i]);
    }
}

/* mkdtemp, and at the end of the program the folder goes with all that is in it. */
static inline char *temp_folder(char *name)
{
    size_t room = sizeof temp_folders.path / sizeof *temp_folders.path;
    if (temp_folders.n == room || strlen(name) >= sizeof *temp_folders.path ||
        mkdtemp(name) == NULL)
        return NULL;
    if (temp_folders.n == 0) {
        temp_folders.owner = getpid();
        if (atexit(temp_folders_remove) != 0)
            return NULL;
    }
    memcpy(temp_folders.path[temp_folders.n++], name, strlen(name) + 1);
    return name;
}

#endif
