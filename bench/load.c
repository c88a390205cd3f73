/*
 * A load generator for one image URL, made to cost less than the server it measures.
 *
 *   load ADDRESS PORT PATH FIRST SIZE LENGTH CONNECTIONS SECONDS PAUSE_US RATE
 *
 * Asks over keep-alive connections for ranges of LENGTH bytes at random sectors between the bytes
 * FIRST and SIZE of an image, or for the whole image when LENGTH is 0, until SECONDS are over. PAUSE_US is the
 * time a connection rests between two requests; RATE the bytes per second it takes at most (0:
 * all it gets). Bodies are thrown away inside the kernel (MSG_TRUNC, tcp(7)), so that the client
 * does not become the limit, and it never sleeps while it waits (but between paced requests): to
 * wake it would be the server's work, and in a virtual machine a costly one, that no network
 * card asks for. Prints one JSON object; times are in microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 128 * 1024, HEAD = 4096, SECTOR = 2048, STEP_US = 5000, SLOTS = 1 << 20 };

enum state { RESTING, HEADING, BODY };

struct connection {
    int fd;
    enum state state;
    int head_length;
    int64_t left;      /* body bytes still to come */
    int64_t sent_at;   /* when the request went out */
    int64_t resume_at; /* RESTING: when the next one goes */
    double allowance;  /* bytes it may take by its rate */
    char head[HEAD + 1];
};

static struct sockaddr_in server;
static const char *path;
static int64_t first, size, length, pause_us, rate;
static int poller;
static char buffer[BUFFER];
static uint32_t slots[SLOTS]; /* latencies by microsecond, the last slot for all above */
static int64_t requests, bytes, errors, slowest;
static uint64_t seed = 88172645463325252u;

static int64_t now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static uint64_t chance(void) { /* xorshift64 */
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void open_connection(struct connection *c) {
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&server, sizeof server)) fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (!rate && epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
}

static void ask(struct connection *c) {
    char request[512], range[96] = "";
    if (length) {
        int64_t places = (size - first - length) / SECTOR + 1;
        int64_t start = first + (int64_t)(chance() % places) * SECTOR;
        snprintf(range, sizeof range, "Range: bytes=%lld-%lld\r\n", (long long)start,
                 (long long)(start + length - 1));
    }
    int count = snprintf(request, sizeof request,
                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\n"
                         "Accept: */*\r\n%s\r\n",
                         path, range);
    c->state = HEADING;
    c->head_length = 0;
    c->sent_at = now_us();
    if (send(c->fd, request, count, MSG_NOSIGNAL) != count) fail("send");
}

static void again(struct connection *c) {
    errors++;
    close(c->fd);
    open_connection(c);
    ask(c);
}

static void answered(struct connection *c) {
    int64_t time = now_us(), took = time - c->sent_at;
    requests++;
    slots[took < SLOTS ? took : SLOTS - 1]++;
    if (took > slowest) slowest = took;
    if (pause_us) {
        c->state = RESTING;
        c->resume_at = time + pause_us;
    } else {
        ask(c);
    }
}

/* Takes the head from the first bytes of a response; returns how many of them are body. */
static int take_head(struct connection *c, int count) {
    int room = HEAD - c->head_length, taken = count < room ? count : room;
    int before = c->head_length;
    memcpy(c->head + before, buffer, taken);
    c->head_length += taken;
    c->head[c->head_length] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return c->head_length < HEAD ? 0 : -1;
    char *announced = strcasestr(c->head, "\r\nContent-Length:");
    if (!announced || announced > end) return -1;
    c->left = atoll(announced + 17);
    if (strncmp(c->head, length ? "HTTP/1.1 206 " : "HTTP/1.1 200 ", 13)) return -1;
    if (c->left != (length ? length : size)) return -1;
    c->state = BODY;
    return count - (int)(end + 4 - c->head - before);
}

/* Reads once; returns the bytes that came, 0 for none. */
static int64_t take(struct connection *c, int64_t most) {
    ssize_t count;
    if (c->state == BODY) {
        if (most > c->left) most = c->left;
        if (most > (1 << 24)) most = 1 << 24;
        count = recv(c->fd, NULL, most, MSG_TRUNC | MSG_DONTWAIT);
    } else {
        if (most > BUFFER) most = BUFFER;
        count = recv(c->fd, buffer, most, MSG_DONTWAIT);
    }
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (count <= 0) {
        again(c);
        return 0;
    }
    int64_t body = count;
    if (c->state == HEADING) {
        body = take_head(c, (int)count);
        if (body < 0) {
            again(c);
            return 0;
        }
        if (c->state == HEADING) return count;
    }
    c->left -= body;
    bytes += body;
    if (c->left == 0) answered(c);
    return count;
}

static int64_t percentile(double share) {
    int64_t wanted = (int64_t)(requests * share), seen = 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        seen += slots[slot];
        if (seen > wanted) return slot;
    }
    return slowest;
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr,
                "load ADDRESS PORT PATH FIRST SIZE LENGTH CONNECTIONS SECONDS PAUSE_US RATE\n");
        return 2;
    }
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) fail(argv[1]);
    path = argv[3];
    first = atoll(argv[4]);
    size = atoll(argv[5]);
    length = atoll(argv[6]);
    int count = atoi(argv[7]);
    int64_t limit = (int64_t)(atof(argv[8]) * 1e6);
    pause_us = atoll(argv[9]);
    rate = atoll(argv[10]);

    poller = epoll_create1(0);
    struct connection *all = calloc(count, sizeof *all);
    if (poller < 0 || !all) fail("start");
    for (int i = 0; i < count; i++) open_connection(&all[i]);
    int64_t begin = now_us(), last = begin, time = begin;
    for (int i = 0; i < count; i++) ask(&all[i]);
    while ((time = now_us()) - begin < limit) {
        if (rate) { /* by the clock: without asking the kernel whether there is something to read */
            for (int i = 0; i < count; i++) {
                struct connection *c = &all[i];
                c->allowance += rate * (time - last) / 1e6;
                while (c->allowance >= 1) {
                    int64_t taken = take(c, (int64_t)c->allowance);
                    if (!taken) break;
                    c->allowance -= taken;
                }
                if (c->allowance > rate) c->allowance = rate;
            }
            last = time;
            int64_t rest = time + STEP_US - now_us();
            if (rest > 0) usleep(rest);
            continue;
        }
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, pause_us ? 1 : 0);
        for (int i = 0; i < ready; i++) take(events[i].data.ptr, INT64_MAX);
        if (pause_us) {
            time = now_us();
            for (int i = 0; i < count; i++)
                if (all[i].state == RESTING && all[i].resume_at <= time) ask(&all[i]);
        }
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"requests\":%lld,\"bytes\":%lld,\"errors\":%lld,\"seconds\":%.6f,\"p50\":%lld,"
           "\"p99\":%lld,\"max\":%lld,\"cpu\":%.3f}\n",
           (long long)requests, (long long)bytes, (long long)errors, (time - begin) / 1e6,
           (long long)percentile(0.5), (long long)percentile(0.99), (long long)slowest,
           used.ru_utime.tv_sec + used.ru_stime.tv_sec +
               (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return 0;
}
