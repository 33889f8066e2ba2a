/*
 * Runs a program and counts, over all its threads and in one order, the system calls by which it reads and
 * changes files below one folder: its points. At a chosen point it kills the program, or lets a call fail, or lets it
 * do half of what was asked. It knows system calls and paths; it must not know the program.
 *
 *     tracer ROOT LOG DATA [FROM:TO:CALLS:ACTION ...] -- PROGRAM [ARGUMENT ...]
 *
 * A rule holds from point FROM to point TO (0: without end) for calls of these names, divided by commas (*: all).
 *
 *     k    kills the program before the call        K    kills it after the call
 *     eN   the call fails with error N, undone      dN   it is done, and fails with error N all the same
 *     s    a read or write does half of its bytes   h    a listing lacks the last name it would give
 *     iN   the program gets signal N before the call, which is done
 *
 * LOG gets a line for each point: its number, call, result (? where it was killed in it), number (flags, offset, size),
 * where its bytes begin in DATA (-1: none), path and second path below ROOT, and 1 where a rule was carried out on it.
 * The last line is `end exit N`, `end signal N`, or `end hang` after two minutes. While a call is under way no other thread enters one, so that the log's
 * order is what happened.
 *
 * A preloaded library would not do: Rust's rustix makes system calls itself. seccomp sends those that matter here, and
 * ptrace holds the thread meanwhile. Linux 4.8 or newer, on x86-64 or arm64.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <elf.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef O_TMPFILE
#define O_TMPFILE (020000000 | O_DIRECTORY)
#endif

/* What a call names: the positions of its folders and paths, or of its open file; -1: none. */
struct call {
    long number;
    const char *name;
    int at, path, at2, path2, fd;
};

#define PATH(nr, name, path) {SYS_##nr, name, -1, path, -1, -1, -1}
#define PATHS(nr, name) {SYS_##nr, name, -1, 0, -1, 1, -1}
#define AT(nr, name) {SYS_##nr, name, 0, 1, -1, -1, -1}
#define ATS(nr, name) {SYS_##nr, name, 0, 1, 2, 3, -1}
#define FD(nr, name, fd) {SYS_##nr, name, -1, -1, -1, -1, fd}

static const struct call calls[] = {
#ifdef SYS_open
    PATH(open, "open", 0), PATH(creat, "creat", 0), PATH(stat, "stat", 0), PATH(lstat, "stat", 0),
    PATH(access, "access", 0), PATHS(rename, "rename"), PATH(mkdir, "mkdir", 0), PATH(rmdir, "rmdir", 0),
    PATHS(link, "link"), PATH(unlink, "unlink", 0), PATH(symlink, "symlink", 1), PATH(chmod, "chmod", 0),
    PATH(readlink, "readlink", 0), ATS(renameat, "rename"),
#endif
    PATH(truncate, "ftruncate", 0),
    AT(openat, "open"), AT(openat2, "openat2"), AT(newfstatat, "stat"), AT(statx, "stat"),
    AT(faccessat, "access"), AT(faccessat2, "access"), ATS(renameat2, "rename"), AT(mkdirat, "mkdir"),
    AT(unlinkat, "unlink"), ATS(linkat, "link"), AT(fchmodat, "chmod"), AT(readlinkat, "readlink"),
    AT(utimensat, "utime"), {SYS_symlinkat, "symlink", 1, 2, -1, -1, -1},
    FD(fstat, "fstat", 0), FD(read, "read", 0), FD(pread64, "read", 0), FD(readv, "read", 0), FD(preadv, "read", 0),
    FD(write, "write", 0), FD(pwrite64, "pwrite", 0), FD(writev, "writev", 0), FD(pwritev, "pwritev", 0),
    FD(sendfile, "copy", 0), FD(copy_file_range, "copy", 2), FD(ftruncate, "ftruncate", 0),
    FD(fallocate, "fallocate", 0), FD(getdents64, "list", 0), FD(fsync, "fsync", 0), FD(fdatasync, "fsync", 0),
    FD(syncfs, "syncfs", 0), FD(flock, "flock", 0), FD(fcntl, "lock", 0), FD(fchmod, "chmod", 0),
    FD(fchown, "chown", 0),
};
#define CALLS (sizeof calls / sizeof *calls)

struct rule {
    long from, to;
    const char *names;
    char action;
    int error;
};

/* A thread between two stops. */
enum phase { FREE, INSIDE, WAITING };
struct thread {
    pid_t id;
    enum phase phase;
    int begun;
};

/* The call that is under way. */
struct point {
    const struct call *call;
    const char *name;
    char path[4096], path2[4096];
    int fd;
    long number, offset;
    const struct rule *rule;
    int hit;
};

static struct thread threads[4096];
static struct rule rules[64];
static size_t thread_count, rule_count;
static struct point point;
static pid_t program, inside;
static const char *root;
static size_t root_length;
static long points, data_length;
static FILE *logged, *data;

static void die(const char *what) {
    perror(what);
    _exit(125);
}

/* Registers. */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
typedef struct user_regs_struct registers;
static void get(pid_t id, registers *r) { if (ptrace(PTRACE_GETREGS, id, 0, r)) memset(r, 0, sizeof *r); }
static void set(pid_t id, registers *r) { ptrace(PTRACE_SETREGS, id, 0, r); }
static long number_of(registers *r) { return (long)r->orig_rax; }
static long result_of(registers *r) { return (long)r->rax; }
static void set_result(registers *r, long value) { r->rax = (unsigned long)value; }
static unsigned long long *argument(registers *r, int at) {
    unsigned long long *all[] = {(void *)&r->rdi, (void *)&r->rsi, (void *)&r->rdx, (void *)&r->r10, (void *)&r->r8};
    return all[at];
}
static void skip(pid_t id, registers *r) { (void)id; r->orig_rax = (unsigned long)-1; }
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
typedef struct user_regs_struct registers;
static void get(pid_t id, registers *r) {
    struct iovec io = {r, sizeof *r};
    if (ptrace(PTRACE_GETREGSET, id, NT_PRSTATUS, &io)) memset(r, 0, sizeof *r);
}
static void set(pid_t id, registers *r) {
    struct iovec io = {r, sizeof *r};
    ptrace(PTRACE_SETREGSET, id, NT_PRSTATUS, &io);
}
static long number_of(registers *r) { return (long)r->regs[8]; }
static long result_of(registers *r) { return (long)r->regs[0]; }
static void set_result(registers *r, long value) { r->regs[0] = (unsigned long)value; }
static unsigned long long *argument(registers *r, int at) { return &r->regs[at]; }
static void skip(pid_t id, registers *r) {
    int none = -1;
    struct iovec io = {&none, sizeof none};
    (void)r;
    ptrace(PTRACE_SETREGSET, id, 0x404 /* NT_ARM_SYSCALL */, &io);
}
#else
#error "no registers are known of this processor"
#endif

/* Paths. */

static int get_memory(pid_t id, unsigned long long from, void *to, size_t length) {
    struct iovec here = {to, length}, there = {(void *)(uintptr_t)from, length};
    return process_vm_readv(id, &here, 1, &there, 1, 0) == (ssize_t)length ? 0 : -1;
}

static int get_text(pid_t id, unsigned long long from, char *to, size_t size) {
    for (size_t at = 0; at < size; at++)
        if (get_memory(id, from + at, to + at, 1)) return -1;
        else if (!to[at]) return 0;
    return -1;
}

static int path_of_fd(pid_t id, int fd, char *to, size_t size) {
    char name[64];
    if (fd == AT_FDCWD) snprintf(name, sizeof name, "/proc/%d/cwd", id);
    else snprintf(name, sizeof name, "/proc/%d/fd/%d", id, fd);
    ssize_t length = readlink(name, to, size - 1);
    if (length < 0) return -1;
    to[length] = 0;
    return 0;
}

/* Takes out empty and `.` parts, and what `..` undoes. */
static void tidy(char *path) {
    char *to = path, *from = path;
    while (*from) {
        while (*from == '/') from++;
        size_t length = strcspn(from, "/");
        if (length == 2 && !strncmp(from, "..", 2)) {
            while (to > path && *--to != '/') {}
        } else if (length && !(length == 1 && *from == '.')) {
            *to++ = '/';
            memmove(to, from, length);
            to += length;
        }
        from += length;
    }
    *to = 0;
}

/* Makes a path one below the root; -1 where it is elsewhere. */
static int below(char *path) {
    tidy(path);
    if (strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return -1;
    memmove(path, path + root_length, strlen(path + root_length) + 1);
    if (*path == '/') memmove(path, path + 1, strlen(path));
    if (!*path) strcpy(path, ".");
    return 0;
}

static int named(pid_t id, registers *r, int at, int path, char *to) {
    char name[4096], joined[8192];
    if (get_text(id, *argument(r, path), name, sizeof name)) return -1;
    if (*name == '/') {
        strcpy(to, name);
        return below(to);
    }
    if (path_of_fd(id, at < 0 ? AT_FDCWD : (int)*argument(r, at), to, 4096)) return -1;
    snprintf(joined, sizeof joined, "%s/%s", to, name);
    if (strlen(joined) >= 4096) return -1;
    strcpy(to, joined);
    return below(to);
}

/* Points. */

static int is_folder(pid_t id, int fd) {
    char name[64];
    struct stat found;
    snprintf(name, sizeof name, "/proc/%d/fd/%d", id, fd);
    return !stat(name, &found) && S_ISDIR(found.st_mode);
}

/* Where the next plain write goes. */
static long position(pid_t id, int fd) {
    char name[64], line[128];
    long at = -1, flags = 0;
    snprintf(name, sizeof name, "/proc/%d/fdinfo/%d", id, fd);
    FILE *info = fopen(name, "r");
    if (!info) return -1;
    while (fgets(line, sizeof line, info)) {
        sscanf(line, "pos: %ld", &at);
        sscanf(line, "flags: %lo", &flags);
    }
    fclose(info);
    if (flags & O_APPEND) {
        struct stat found;
        snprintf(name, sizeof name, "/proc/%d/fd/%d", id, fd);
        return stat(name, &found) ? -1 : found.st_size;
    }
    return at;
}

static int is_write(const char *name) {
    return !strcmp(name, "write") || !strcmp(name, "pwrite") || !strcmp(name, "writev") || !strcmp(name, "pwritev") ||
           !strcmp(name, "copy");
}

static const char *name_of_open(long flags) {
    if ((flags & O_TMPFILE) == O_TMPFILE) return "tmpfile";
    if (flags & O_CREAT) return "create";
    return flags & O_DIRECTORY ? "opendir" : "open";
}

/* What a call is: 0 where it is a point. */
static int look(pid_t id, registers *r) {
    const struct call *call = NULL;
    for (size_t at = 0; at < CALLS; at++)
        if (calls[at].number == number_of(r)) call = &calls[at];
    if (!call) return -1;
    memset(&point, 0, sizeof point);
    point.call = call;
    point.name = call->name;
    point.offset = -1;
    if (call->fd >= 0) {
        struct stat found;
        char name[64];
        point.fd = (int)*argument(r, call->fd);
        snprintf(name, sizeof name, "/proc/%d/fd/%d", id, point.fd);
        if (stat(name, &found) || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return -1;
        if (path_of_fd(id, point.fd, point.path, sizeof point.path) || below(point.path)) return -1;
    } else {
        int first = named(id, r, call->at, call->path, point.path);
        int second = call->path2 < 0 ? -1 : named(id, r, call->at2, call->path2, point.path2);
        if (first && second) return -1;
    }
    if (!strcmp(point.name, "open")) {
        point.number = (long)*argument(r, call->at < 0 ? 1 : 2);
        point.name = name_of_open(point.number);
    } else if (!strcmp(point.name, "creat")) {
        point.number = O_CREAT | O_TRUNC | O_WRONLY;
        point.name = "create";
    } else if (!strcmp(point.name, "openat2")) {
        uint64_t flags = 0;
        get_memory(id, *argument(r, 2), &flags, sizeof flags);
        point.number = (long)flags;
    } else if (!strcmp(point.name, "rename") && call->at >= 0 && (unsigned)*argument(r, 4)) {
        if (call->number == SYS_renameat2) point.name = "renamex";
    } else if (!strcmp(point.name, "unlink") && call->at >= 0 && (*argument(r, 2) & AT_REMOVEDIR)) {
        point.name = "rmdir";
    } else if (!strcmp(point.name, "fsync") && is_folder(id, point.fd)) {
        point.name = "syncdir";
    } else if (!strcmp(point.name, "ftruncate")) {
        point.number = (long)*argument(r, 1);
    } else if (!strcmp(point.name, "lock")) {
        long command = (long)*argument(r, 1);
        if (command != F_SETLK && command != F_SETLKW && command != 37 && command != 38) return -1;
    } else if (!strcmp(point.name, "pwrite")) {
        point.number = (long)*argument(r, 3);
    } else if (is_write(point.name)) {
        point.number = position(id, point.fd);
    }
    return 0;
}

static const struct rule *rule_for(long at, const char *name) {
    for (size_t one = 0; one < rule_count; one++) {
        const struct rule *rule = &rules[one];
        if (at < rule->from || (rule->to && at > rule->to)) continue;
        if (!strcmp(rule->names, "*")) return rule;
        size_t length = strlen(name);
        for (const char *word = rule->names; word; word = strchr(word, ',')) {
            if (*word == ',') word++;
            if (!strncmp(word, name, length) && (!word[length] || word[length] == ',')) return rule;
        }
    }
    return NULL;
}

static void note(const char *result) {
    fprintf(logged, "%ld\t%s\t%s\t%ld\t%ld\t%s\t%s\t%d\n", points, point.name, result, point.number, point.offset,
            point.path, point.path2, point.hit);
    fflush(logged);
}

/* The bytes that were written, read back from the open file. */
static void keep_bytes(pid_t id, long count) {
    char name[64], buffer[65536];
    snprintf(name, sizeof name, "/proc/%d/fd/%d", id, point.fd);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    point.offset = data_length;
    for (long done = 0; done < count;) {
        long want = count - done < (long)sizeof buffer ? count - done : (long)sizeof buffer;
        ssize_t got = pread(fd, buffer, (size_t)want, point.number + done);
        if (got <= 0) break;
        fwrite(buffer, 1, (size_t)got, data);
        done += got;
        data_length += got;
    }
    fflush(data);
    close(fd);
}

/* Takes the last name out of what a listing gave. */
static void hide(pid_t id, registers *r) {
    char buffer[65536];
    long length = result_of(r), last = -1;
    if (length <= 0 || length > (long)sizeof buffer || get_memory(id, *argument(r, 1), buffer, (size_t)length)) return;
    for (long at = 0; at < length;) {
        unsigned short size;
        memcpy(&size, buffer + at + 16, sizeof size);
        if (buffer[at + 19] != '.' || at + size >= length) last = at + size >= length ? at : last;
        at += size;
    }
    if (last > 0) {
        snprintf(point.path2, sizeof point.path2, "%s", buffer + last + 19);
        set_result(r, last);
        set(id, r);
        point.hit = 1;
    }
}

static void end(pid_t id, int request, int signal) {
    ptrace(request, id, 0, (void *)(intptr_t)signal);
}

static struct thread *thread_of(pid_t id) {
    for (size_t at = 0; at < thread_count; at++)
        if (threads[at].id == id) return &threads[at];
    if (thread_count == sizeof threads / sizeof *threads) die("too many threads");
    threads[thread_count] = (struct thread){id, FREE, 0};
    return &threads[thread_count++];
}

/* A thread stands before a call. */
static void enter(struct thread *thread) {
    registers r;
    if (inside) {
        thread->phase = WAITING;
        return;
    }
    thread->phase = FREE;
    get(thread->id, &r);
    if (look(thread->id, &r)) {
        end(thread->id, PTRACE_CONT, 0);
        return;
    }
    points++;
    const struct rule *rule = point.rule = rule_for(points, point.name);
    if (rule && rule->action == 'k') {
        point.hit = 1;
        note("?");
        kill(program, SIGKILL);
        return;
    }
    if (rule && rule->action == 'e') {
        char text[32];
        snprintf(text, sizeof text, "%d", -rule->error);
        point.hit = 1;
        note(text);
        set_result(&r, -rule->error);
        skip(thread->id, &r);
        set(thread->id, &r);
        end(thread->id, PTRACE_CONT, 0);
        return;
    }
    if (rule && rule->action == 'i') {
        point.hit = 1;
        kill(program, rule->error);
    }
    if (rule && rule->action == 's' && *argument(&r, 2) > 1) {
        *argument(&r, 2) /= 2;
        set(thread->id, &r);
        point.hit = 1;
    }
    inside = thread->id;
    thread->phase = INSIDE;
    end(thread->id, PTRACE_SYSCALL, 0);
}

static void next_waiting(void) {
    inside = 0;
    for (size_t at = 0; at < thread_count && !inside; at++)
        if (threads[at].phase == WAITING) enter(&threads[at]);
}

/* A thread has done its call. */
static void leave(struct thread *thread) {
    registers r;
    char text[32];
    get(thread->id, &r);
    long result = result_of(&r);
    const struct rule *rule = point.rule;
    if (result > 0 && is_write(point.name)) keep_bytes(thread->id, result);
    if (rule && rule->action == 'h') hide(thread->id, &r);
    if (rule && (rule->action == 'K' || (rule->action == 'd' && result >= 0))) point.hit = 1;
    snprintf(text, sizeof text, "%ld", result);
    note(text);
    if (rule && rule->action == 'K') {
        kill(program, SIGKILL);
        return;
    }
    if (rule && rule->action == 'd' && result >= 0) {
        set_result(&r, -rule->error);
        set(thread->id, &r);
    }
    thread->phase = FREE;
    end(thread->id, PTRACE_CONT, 0);
    next_waiting();
}

static void watch(void) {
    struct sock_filter filter[CALLS + 8];
    unsigned short at = 0, last = CALLS + 3;
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 0, CALLS + 1);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t call = 0; call < CALLS; call++) {
        unsigned char to = (unsigned char)(last - at);
        filter[at++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[call].number, to, 0);
    }
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[at++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog all = {at, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &all)) die("seccomp");
}

static void start(char **arguments) {
    program = fork();
    if (program < 0) die("fork");
    if (!program) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) die("ptrace");
        raise(SIGSTOP);
        watch();
        execv(*arguments, arguments);
        die(*arguments);
    }
    int status;
    if (waitpid(program, &status, __WALL) < 0 || !WIFSTOPPED(status)) die("the program did not begin");
    long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD;
    if (ptrace(PTRACE_SETOPTIONS, program, 0, options)) die("ptrace options");
    thread_of(program)->begun = 1;
    end(program, PTRACE_CONT, 0);
}

static void stopped(pid_t id, int status) {
    struct thread *thread = thread_of(id);
    int signal = WSTOPSIG(status), event = status >> 16;
    int go_on = thread->phase == INSIDE ? PTRACE_SYSCALL : PTRACE_CONT;
    if (event == PTRACE_EVENT_SECCOMP) enter(thread);
    else if (signal == (SIGTRAP | 0x80) && thread->phase == INSIDE) leave(thread);
    else if (event || signal == (SIGTRAP | 0x80)) end(id, go_on, 0);
    else if (signal == SIGSTOP && !thread->begun) {
        thread->begun = 1;
        end(id, go_on, 0);
    } else end(id, go_on, signal);
}

static void gone(pid_t id) {
    struct thread *thread = thread_of(id);
    *thread = threads[--thread_count];
    if (inside == id) {
        /* The signal of the rule ended it in the call. */
        if (point.rule && point.rule->action == 'i') note("?");
        next_waiting();
    }
}

static void too_long(int signal) {
    (void)signal;
    fputs("end hang\n", logged);
    fflush(logged);
    _exit(124);
}

static void read_rule(char *text) {
    struct rule *rule = &rules[rule_count++];
    char *rest;
    if (rule_count > sizeof rules / sizeof *rules) die("too many rules");
    rule->from = strtol(text, &rest, 10);
    rule->to = strtol(rest + 1, &rest, 10);
    rule->names = rest + 1;
    char *action = strchr(rest + 1, ':');
    if (!action) die("a rule is FROM:TO:CALLS:ACTION");
    *action++ = 0;
    rule->action = *action;
    rule->error = atoi(action + 1);
}

int main(int count, char **arguments) {
    int at = 4, status, ended = 0;
    if (count < 6) {
        fputs("tracer ROOT LOG DATA [RULE ...] -- PROGRAM [ARGUMENT ...]\n", stderr);
        return 125;
    }
    root = arguments[1];
    root_length = strlen(root);
    logged = fopen(arguments[2], "we");
    data = fopen(arguments[3], "we");
    if (!logged || !data) die("the log");
    while (at < count && strcmp(arguments[at], "--")) read_rule(arguments[at++]);
    if (at + 1 >= count) return 125;
    start(arguments + at + 1);
    signal(SIGALRM, too_long);
    alarm(120);
    for (;;) {
        pid_t id = waitpid(-1, &status, __WALL);
        if (id < 0) {
            if (errno == EINTR) continue;
            break;
        }
        if (WIFSTOPPED(status)) {
            stopped(id, status);
            continue;
        }
        if (id == program) ended = status;
        gone(id);
    }
    if (WIFSIGNALED(ended)) fprintf(logged, "end signal %d\n", WTERMSIG(ended));
    else fprintf(logged, "end exit %d\n", WEXITSTATUS(ended));
    fclose(logged);
    return WIFSIGNALED(ended) ? 128 + WTERMSIG(ended) : WEXITSTATUS(ended);
}
