/* A disk whose syncs end when the test says so, preloaded into a server.
 *
 * fsync and fdatasync wait while the file named by HELD_SYNC_FILE exists; a sync that waits makes the file
 * of that name with ".waits" at its end.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define POLL_US 5000

typedef int (*sync_function)(int);

static void wait_while_held(void)
{
    const char *hold = getenv("HELD_SYNC_FILE");
    char waits[4096];

    if (hold == NULL || access(hold, F_OK) != 0)
        return;
    if (snprintf(waits, sizeof waits, "%s.waits", hold) >= (int)sizeof waits)
        abort();
    int file = open(waits, O_CREAT | O_WRONLY, 0600);
    if (file >= 0)
        close(file);
    while (access(hold, F_OK) == 0)
        usleep(POLL_US);
}

__attribute__((visibility("default"))) int fsync(int descriptor)
{
    wait_while_held();
    return ((sync_function)dlsym(RTLD_NEXT, "fsync"))(descriptor);
}

__attribute__((visibility("default"))) int fdatasync(int descriptor)
{
    wait_while_held();
    return ((sync_function)dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}
