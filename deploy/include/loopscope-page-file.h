/* The file of a page: where it lies, how it is made, and how it ends. Included by loopscope-page.h; see there, and
 * docs/page.md, "The file". License: MIT or Apache-2.0, at your choice. */
#ifndef LOOPSCOPE_PAGE_FILE_H
#define LOOPSCOPE_PAGE_FILE_H

static inline int lsp_is_in_memory(const char *path) {
    struct statfs facts;
    return !statfs(path, &facts) && ((uint32_t)facts.f_type == 0x01021994 || (uint32_t)facts.f_type == 0x858458f6);
}

/* Whether a directory is ours, or would be made in one of ours or root's. */
static inline int lsp_may_use(const char *directory) {
    struct stat facts;
    if (!lstat(directory, &facts)) return facts.st_uid == geteuid();
    if (errno == EACCES) return 0;
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", directory);
    char *slash = strrchr(parent, '/');
    if (!slash) strcpy(parent, ".");
    else slash[slash == parent] = 0;
    return lstat(parent, &facts) || facts.st_uid == geteuid() || facts.st_uid == 0;
}

/* Chooses the directory, which `directory` has room for, and makes it. 0, or an error number. */
static inline int lsp_directory(char directory[PATH_MAX - 64]) {
    const size_t room = PATH_MAX - 64;
    const char *named = getenv("LOOPSCOPE_RUNTIME_DIR"), *session = getenv("XDG_RUNTIME_DIR");
    struct stat facts;
    snprintf(directory, room, "/dev/shm/loopscope-%u", (unsigned)geteuid());
    if (named && *named && lsp_may_use(named)) {
        snprintf(directory, room, "%s", named);
    } else if (session && *session && lsp_is_in_memory(session) && !lstat(session, &facts) && facts.st_uid == geteuid()) {
        char own[PATH_MAX - 64];
        int length = snprintf(own, sizeof own, "%s/loopscope", session);
        if (length > 0 && (size_t)length < sizeof own && lsp_may_use(own)) memcpy(directory, own, (size_t)length + 1);
    }
    if (mkdir(directory, 0700) && errno != EEXIST) return errno;
    if (lstat(directory, &facts)) return errno;
    if (!S_ISDIR(facts.st_mode)) return ENOTDIR;
    return facts.st_uid == geteuid() && !(facts.st_mode & 077) && lsp_is_in_memory(directory) ? 0 : EPERM;
}

/* When this process started, in clock ticks since boot; 0 without /proc. */
static inline uint64_t lsp_process_start(void) {
    char text[1024];
    FILE *stat = fopen("/proc/self/stat", "re");
    if (!stat) return 0;
    size_t length = fread(text, 1, sizeof text - 1, stat);
    fclose(stat);
    text[length] = 0;
    /* Field 22: the third follows the last parenthesis. */
    char *field = strrchr(text, ')');
    for (int number = 2; field && number < 22; number++) field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

/* Reserves the file with signals blocked. 0, or an error number. */
static inline int lsp_reserve(int file) {
    sigset_t all, before, pending, limit;
    struct timespec at_once = {0, 0};
    int error = 0, tries = 0;
    sigfillset(&all);
    for (int signal = 0; signal < 6; signal++)
        sigdelset(&all, (int[]){SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS}[signal]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    sigpending(&pending);
    for (off_t at = 0; at < (off_t)sizeof(struct lsp_page) && (!error || (error == EINTR && tries++ < 1000));) {
        off_t rest = (off_t)sizeof(struct lsp_page) - at, piece = rest < 65536 ? rest : 65536;
        error = posix_fallocate(file, at, piece);
        if (!error) at += piece;
    }
    /* The signal that our call brought about is not the program's. */
    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    if (error == EFBIG && !sigismember(&pending, SIGXFSZ)) sigtimedwait(&limit, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Makes, locks, reserves and maps the file. 0, or an error number. */
static inline int lsp_map(struct lsp_loop *loop) {
    static _Atomic unsigned next;
    char directory[PATH_MAX - 64];
    const char *off = getenv("LOOPSCOPE");
    if (off && (!strcasecmp(off, "off") || !strcmp(off, "0") || !strcasecmp(off, "false"))) return ECANCELED;
    int error = lsp_directory(directory);
    if (error) return error;
    do {
        snprintf(loop->path, sizeof loop->path, "%s/%d-%llu-%u.page", directory, (int)getpid(),
            (unsigned long long)lsp_process_start(), atomic_fetch_add(&next, 1));
        loop->file = open(loop->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    } while (loop->file < 0 && errno == EEXIST);
    if (loop->file < 0) return errno;
    error = flock(loop->file, LOCK_EX | LOCK_NB) ? errno : lsp_reserve(loop->file);
    void *memory = MAP_FAILED;
    if (!error) memory = mmap(NULL, sizeof(struct lsp_page), PROT_READ | PROT_WRITE, MAP_SHARED, loop->file, 0);
    if (memory != MAP_FAILED) {
        loop->page = memory;
        return 0;
    }
    if (!error) error = errno;
    unlink(loop->path);
    close(loop->file);
    return error;
}

static inline void lsp_write_header(struct lsp_loop *loop, const struct lsp_facts *facts) {
    struct lsp_header *header = &loop->page->header;
    struct stat namespace;
    char text[64] = "", digits[33] = "";
    lsp_set(&header->version, 3);
    lsp_set(&header->bytes, sizeof(struct lsp_page));
    lsp_set(&header->pid, (uint64_t)getpid());
    lsp_set(&header->pid_start, lsp_process_start());
    lsp_set(&header->pid_namespace, stat("/proc/self/ns/pid", &namespace) ? 0 : namespace.st_ino);
    lsp_set(&header->tid, (uint64_t)syscall(SYS_gettid));
    lsp_set(&header->created_unix_ns, lsp_clock(CLOCK_REALTIME));
    lsp_set(&header->created_ticks, loop->created);
    lsp_set(&header->clock_source, 2);
    lsp_set(&header->clock_multiplier, (uint64_t)1 << 32);
    lsp_set(&header->clock_shift, 5);
    lsp_text(header->name, 8, facts->name, 0);
    lsp_text(header->runtime, 2, facts->runtime, 0);
    lsp_text(header->backend, 2, facts->backend, 0);
    lsp_text(header->thread, 4, facts->thread, 0);
    lsp_text(header->process, 8, facts->process ? facts->process : program_invocation_short_name, 0);
    lsp_text(header->label, 10, facts->label ? facts->label : facts->name, 0);
    FILE *boot = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot && fgets(text, sizeof text, boot)) {
        size_t count = 0;
        for (char *at = text; *at && count < 32; at++)
            if (*at != '-') digits[count++] = *at;
        lsp_set(&header->boot[0], strtoull(digits + 16, NULL, 16));
        digits[16] = 0;
        lsp_set(&header->boot[1], strtoull(digits, NULL, 16));
    }
    if (boot) fclose(boot);
}

/* Makes the page of a loop on the calling thread, which is in its poll. Where there can be no file, the page is private memory
 * that nobody reads, and an error number says why; the other functions may be called all the same, unless that is ENOMEM. */
static inline int lsp_open(struct lsp_loop *loop, const struct lsp_facts *facts) {
    memset(loop, 0, sizeof *loop);
    loop->file = -1;
    int error = lsp_map(loop);
    if (error) {
        void *memory = mmap(NULL, sizeof(struct lsp_page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        loop->file = -1;
        if (memory == MAP_FAILED) return ENOMEM;
        loop->page = memory;
    }
    struct lsp_page *page = loop->page;
    for (unsigned slot = 0; slot < LSP_SLOTS - 1; slot++) loop->bounds[slot] = lsp_bound(slot);
    loop->created = loop->last = loop->poll_since = lsp_clock(CLOCK_MONOTONIC);
    loop->random = loop->created ^ (uint64_t)getpid() << 32 ^ 1;
    loop->lag_next = loop->created + loop->random % 1000000;
    lsp_write_header(loop, facts);
    lsp_text(page->description.text, 1024, facts->description ? facts->description : LSP_FILLS, 0);
    lsp_write_site(&page->sites.entries[0], LSP_OTHER, "", "", 0);
    lsp_write_site(&page->sites.entries[LSP_SITES - 1], LSP_OTHER, "(other)", "", 0);
    lsp_publish(&page->sites.length, 1);
    lsp_set(&page->paths.nodes[17].meta, (uint64_t)(LSP_SITES - 1) << 16);
    lsp_publish(&page->paths.length, 18);
    lsp_set(&page->now.parked_since, loop->created);
    lsp_between(loop, loop->created);
    uint64_t magic;
    memcpy(&magic, "LOOPSCOP", 8);
    lsp_publish(&page->header.magic, magic);
    return error;
}

/* The loop has ended in order: readers no longer show it. */
static inline void lsp_close(struct lsp_loop *loop) {
    lsp_publish(&loop->page->now.busy_since, 0);
    lsp_publish(&loop->page->header.is_closed, 1);
    if (loop->file >= 0) {
        unlink(loop->path);
        flock(loop->file, LOCK_UN);
        close(loop->file);
    }
    munmap(loop->page, sizeof(struct lsp_page));
    loop->page = NULL;
}

/* To be called in every forked child (pthread_atfork): it must neither write its parent's page nor hold its lock. */
static inline void lsp_forked(struct lsp_loop *loop) {
    mmap(loop->page, sizeof(struct lsp_page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (loop->file >= 0) close(loop->file);
    loop->file = -1;
}
#endif
