/* Records what a program does to the files of one directory, in order: for LD_PRELOAD.
 *
 * RECORD_ROOT is the directory, RECORD_LOG the file to record to. Each record is a header, and then its data: what was
 * written, or the names that were given. Call and record happen under one lock, so the order of the records is the
 * order in which things happened. What SQLite maps into memory (its -shm file) does not outlive a power loss and is
 * not recorded.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { OPENED = 1, CLOSED, WRITTEN, SYNCED, TRUNCATED, RENAMED, UNLINKED };

struct header {
    uint32_t what;
    int32_t descriptor;
    uint64_t offset;
    uint64_t length;
};

#define DESCRIPTORS 65536
static char recorded[DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_descriptor = -1;
static const char *root;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    root = getenv("RECORD_ROOT");
    const char *log = getenv("RECORD_LOG");
    if (root && log) log_descriptor = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int concerns(const char *path) {
    size_t length = root ? strlen(root) : 0;
    if (log_descriptor < 0 || !path || strncmp(path, root, length) || (path[length] && path[length] != '/')) return 0;
    size_t whole = strlen(path);
    return whole < 4 || strcmp(path + whole - 4, "-shm");
}

static int follows(int descriptor) { return descriptor >= 0 && descriptor < DESCRIPTORS && recorded[descriptor]; }

static void all(const void *data, size_t length) {
    const char *rest = data;
    while (length) {
        ssize_t done = real_write(log_descriptor, rest, length);
        if (done < 0) {
            if (errno == EINTR) continue;
            abort();
        }
        rest += done;
        length -= (size_t)done;
    }
}

static void record(uint32_t what, int descriptor, uint64_t offset, const void *data, uint64_t length) {
    int before = errno;
    struct header header = {what, descriptor, offset, length};
    all(&header, sizeof header);
    if (length) all(data, length);
    errno = before;
}

static int open_recorded(const char *path, int flags, mode_t mode) {
    if (!concerns(path)) return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    int descriptor = real_open(path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS) {
        recorded[descriptor] = 1;
        record(OPENED, descriptor, flags & O_TRUNC ? 1 : 0, path, strlen(path));
    }
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_recorded(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_recorded(path, flags, mode);
}

int close(int descriptor) {
    if (!follows(descriptor)) return real_close(descriptor);
    pthread_mutex_lock(&lock);
    recorded[descriptor] = 0;
    record(CLOSED, descriptor, 0, NULL, 0);
    int result = real_close(descriptor);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int descriptor, const void *data, size_t length) {
    if (!follows(descriptor)) return real_write(descriptor, data, length);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    ssize_t done = real_write(descriptor, data, length);
    if (done > 0) record(WRITTEN, descriptor, (uint64_t)offset, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset) {
    if (!follows(descriptor)) return real_pwrite(descriptor, data, length, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = real_pwrite(descriptor, data, length, offset);
    if (done > 0) record(WRITTEN, descriptor, (uint64_t)offset, data, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off_t offset) {
    return pwrite(descriptor, data, length, offset);
}

static int sync_recorded(int descriptor, int (*real)(int)) {
    if (!follows(descriptor)) return real(descriptor);
    pthread_mutex_lock(&lock);
    int result = real(descriptor);
    if (!result) record(SYNCED, descriptor, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int descriptor) { return sync_recorded(descriptor, real_fsync); }

int fdatasync(int descriptor) { return sync_recorded(descriptor, real_fdatasync); }

int ftruncate(int descriptor, off_t length) {
    if (!follows(descriptor)) return real_ftruncate(descriptor, length);
    pthread_mutex_lock(&lock);
    int result = real_ftruncate(descriptor, length);
    if (!result) record(TRUNCATED, descriptor, (uint64_t)length, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int descriptor, off_t length) { return ftruncate(descriptor, length); }

int rename(const char *from, const char *to) {
    if (!concerns(from) && !concerns(to)) return real_rename(from, to);
    pthread_mutex_lock(&lock);
    int result = real_rename(from, to);
    if (!result) {
        char both[8192];
        int length = snprintf(both, sizeof both, "%s\n%s", from, to);
        record(RENAMED, -1, 0, both, (uint64_t)length);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    if (!concerns(path)) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int result = real_unlink(path);
    if (!result) record(UNLINKED, -1, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}
