/* LD_PRELOAD: the wall clock of one process, by two int64 in the file CLOCK_STEP_FILE: seconds that it is ahead (behind, if
 * negative), and the microsecond at which it stands still (0: it runs). The file is mapped, so a test sets the clock of a
 * running process. CLOCK_MONOTONIC stays. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t unmapped[2];
static volatile int64_t *setting = unmapped;

__attribute__((constructor)) static void map_step(void)
{
    const char *path = getenv("CLOCK_STEP_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof unmapped, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        setting = page;
    close(file);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return failed;
    now->tv_sec += setting[0];
    if (setting[1]) {
        now->tv_sec = setting[1] / 1000000;
        now->tv_nsec = setting[1] % 1000000 * 1000;
    }
    return 0;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

__attribute__((visibility("default"))) time_t time(time_t *now)
{
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now)
        *now = precise.tv_sec;
    return precise.tv_sec;
}
