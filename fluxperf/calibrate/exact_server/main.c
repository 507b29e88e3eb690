/* The exact-schedule server: chat completions as event streams, each token at its time, and the truth about it.
 *
 * The loop: write what is due, take one event, write what is due, ... until nothing is left; then wait for the
 * sockets or the timer. Reading late loses nothing, as the kernel stamps what it receives; writing late does.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_EVENTS 64
#define MOST_ACCEPTS 16

Options options = {.ttft_ns = 50000000, .itl_ns = 10000000, .tokens = 64, .max_streams = 256};

int epoll_fd;
static int timer_fd, listen_fd;

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

int64_t now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

int64_t wall_ns(void) {
    return read_clock(CLOCK_REALTIME);
}

void fail(const char *what) {
    fprintf(stderr, "exact_server: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

/* ---- the loop ---- */

static void accept_some(void) {
    for (int i = 0; i < MOST_ACCEPTS; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            open_connection(fd);
        else if (errno == EMFILE || errno == ENFILE)
            fail("cannot hold so many connections, raise the limit with ulimit -n");
        else
            return;
    }
}

static void take_event(const struct epoll_event *event) {
    if (event->data.ptr == &listen_fd)
        accept_some();
    else if (event->data.ptr != &timer_fd)
        serve_connection(event->data.ptr, event->events);
}

/* Sets the timer to the next piece that is due; returns false if that is now. */
static bool arm_timer(void) {
    static int64_t armed_ns;
    int64_t due_ns = 0; /* disarms it */
    if (next_due(&due_ns) && due_ns <= now_ns())
        return false;
    if (due_ns != armed_ns) {
        struct itimerspec at = {.it_value = {due_ns / NS_PER_S, due_ns % NS_PER_S}};
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
        armed_ns = due_ns;
    }
    return true;
}

static void serve(void) {
    struct epoll_event events[MOST_EVENTS];
    for (;;) {
        int count = epoll_wait(epoll_fd, events, MOST_EVENTS, arm_timer() ? -1 : 0);
        for (int i = 0; i < count; i++) {
            write_due();
            take_event(&events[i]);
        }
        write_due();
        close_broken();
    }
}

static void open_sockets(void) {
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listen_fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on); /* so that the kernel stamps from now on */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listen_fd, (struct sockaddr *)&address, size) || listen(listen_fd, 4096) ||
        getsockname(listen_fd, (struct sockaddr *)&address, &size))
        fail("cannot listen on 127.0.0.1");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = &listen_fd};
    struct epoll_event ticking = {.events = EPOLLIN | EPOLLET, .data.ptr = &timer_fd}; /* so it need not be read */
    if (epoll_fd < 0 || timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &listening) ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &ticking))
        fail("cannot set up epoll");
    printf("exact_server listening on http://127.0.0.1:%d/v1/chat/completions\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* ---- the command line ---- */

static const char usage[] =
    "Usage: exact_server [options]\n"
    "\n"
    "Answers chat completions over HTTP/1.1 and HTTP/2 (prior knowledge) on one port of 127.0.0.1, each token at\n"
    "its time. GET /truth says what was really written, when (JSON); GET /reset starts that anew.\n"
    "\n"
    "  --port N          0: any free one, which the first line on stdout names [default: 0]\n"
    "  --ttft-us N       From a request's arrival to its first token [default: 50000]\n"
    "  --itl-us N        From a token to the next; 0: as fast as the socket takes them [default: 10000]\n"
    "  --tokens N        Of an answer; a request's max_tokens makes it shorter [default: 64]\n"
    "  --max-streams N   At once on one HTTP/2 connection [default: 256]\n"
    "  --help\n";

static long long read_number(const char *text, long long least, long long most) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < least || number > most) {
        fprintf(stderr, "exact_server: '%s' must be a whole number from %lld to %lld; see --help\n", text, least, most);
        exit(2);
    }
    return number;
}

static void read_options(int count, char **words) {
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},        {"ttft-us", required_argument, NULL, 't'},
        {"itl-us", required_argument, NULL, 'i'},      {"tokens", required_argument, NULL, 'n'},
        {"max-streams", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(count, words, "", known, NULL)) != -1;) {
        switch (option) {
        case 'p':
            options.port = (int)read_number(optarg, 0, 65535);
            break;
        case 't':
            options.ttft_ns = read_number(optarg, 0, 600000000) * 1000;
            break;
        case 'i':
            options.itl_ns = read_number(optarg, 0, 600000000) * 1000;
            break;
        case 'n':
            options.tokens = (int)read_number(optarg, 1, 1000000);
            break;
        case 'm':
            options.max_streams = (int)read_number(optarg, 1, 1000000);
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind < count) {
        fprintf(stderr, "exact_server: unexpected '%s'; see --help\n", words[optind]);
        exit(2);
    }
}

int main(int count, char **words) {
    read_options(count, words);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    open_sockets();
    serve();
}
