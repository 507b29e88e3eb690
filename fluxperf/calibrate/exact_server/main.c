/* The exact-schedule server: chat completions as event streams, each token at its time, and the truth about it.
 *
 * The loop: write what is due, take one event, write what is due, ... until nothing is left; then wait for the
 * sockets or the timer. Reading late loses nothing, as the kernel stamps what it receives; writing late does.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 16384
#define MOST_EVENTS 64
#define MOST_ACCEPTS 16
#define NS_PER_S 1000000000LL

Options options = {.ttft_ns = 50000000, .itl_ns = 10000000, .tokens = 64, .max_streams = 256};

static int epoll_fd, timer_fd, listen_fd;
static Connection *broken_connections;

/* ---- small things ---- */

static int64_t read_clock(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * NS_PER_S + time.tv_nsec;
}

int64_t now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

void fail(const char *what) {
    fprintf(stderr, "exact_server: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

static char *make_room(Buffer *buffer, size_t count) {
    if (buffer->room - buffer->used < count) {
        while (buffer->room - buffer->used < count)
            buffer->room = buffer->room ? buffer->room * 2 : 4096;
        buffer->bytes = realloc(buffer->bytes, buffer->room);
        if (!buffer->bytes)
            fail("out of memory");
    }
    return buffer->bytes + buffer->used;
}

void buffer_append(Buffer *buffer, const void *bytes, size_t count) {
    if (count)
        memcpy(make_room(buffer, count), bytes, count);
    buffer->used += count;
}

void buffer_drop(Buffer *buffer, size_t count) {
    buffer->used -= count;
    if (buffer->used && count)
        memmove(buffer->bytes, buffer->bytes + count, buffer->used);
}

void buffer_free(Buffer *buffer) {
    free(buffer->bytes);
    *buffer = (Buffer){0};
}

/* ---- streams and connections ---- */

Stream *open_stream(Connection *connection, uint32_t id) {
    Stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        fail("out of memory");
    stream->connection = connection;
    stream->id = id;
    stream->place = NOWHERE;
    stream->window = connection->initial_window;
    stream->next = connection->streams;
    connection->streams = stream;
    connection->stream_count++;
    return stream;
}

void drop_stream(Stream *stream) {
    Stream **link = &stream->connection->streams;
    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    stream->connection->stream_count--;
    truth.aborted += stream->begun && !(stream->ended && !stream->rest.used);
    leave_schedule(stream);
    buffer_free(&stream->body);
    buffer_free(&stream->rest);
    free(stream);
}

void break_connection(Connection *connection) {
    if (connection->broken)
        return;
    connection->broken = true;
    connection->next_broken = broken_connections;
    broken_connections = connection;
}

void close_if_done(Connection *connection) {
    if (connection->closing && !connection->streams && !connection->out.used)
        break_connection(connection);
}

/* Only between two turns: an event of this turn may still lead to one of them. */
static void close_broken(void) {
    while (broken_connections) {
        Connection *connection = broken_connections;
        broken_connections = connection->next_broken;
        while (connection->streams)
            drop_stream(connection->streams);
        close(connection->fd);
        buffer_free(&connection->in);
        buffer_free(&connection->out);
        free(connection);
    }
}

static void watch(Connection *connection, bool writable_too) {
    struct epoll_event event = {.events = EPOLLIN | (writable_too ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Sends now, as far as the socket takes it; the rest follows once it takes more. */
void send_bytes(Connection *connection, const void *bytes, size_t count) {
    if (connection->broken)
        return;
    size_t sent = 0;
    if (!connection->out.used) {
        ssize_t result = send(connection->fd, bytes, count, MSG_NOSIGNAL);
        if (result < 0 && errno != EAGAIN) {
            break_connection(connection);
            return;
        }
        sent = result < 0 ? 0 : (size_t)result;
        if (sent < count)
            watch(connection, true);
    }
    buffer_append(&connection->out, (const char *)bytes + sent, count - sent);
}

static void send_remaining(Connection *connection) {
    ssize_t sent = send(connection->fd, connection->out.bytes, connection->out.used, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        break_connection(connection);
    if (sent <= 0)
        return;
    buffer_drop(&connection->out, (size_t)sent);
    if (!connection->out.used) {
        watch(connection, false);
        release_held(connection);
    }
}

/* ---- reading ---- */

/* When the kernel received what `message` brought; 0: it does not say, or the wall clock was set meanwhile. */
static int64_t find_stamp(struct msghdr *message) {
    for (struct cmsghdr *entry = CMSG_FIRSTHDR(message); entry; entry = CMSG_NXTHDR(message, entry)) {
        if (entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(entry), sizeof stamp);
        int64_t age_ns = read_clock(CLOCK_REALTIME) - (stamp.tv_sec * NS_PER_S + stamp.tv_nsec);
        return age_ns >= 0 && age_ns < 10 * NS_PER_S ? now_ns() - age_ns : 0;
    }
    return 0;
}

/* One read into the connection's input, with its stamp; false: nothing came. */
static bool read_once(Connection *connection) {
    struct iovec place = {make_room(&connection->in, READ_BYTES), READ_BYTES};
    union {
        struct cmsghdr aligned;
        char bytes[64];
    } control;
    struct msghdr message = {.msg_iov = &place, .msg_iovlen = 1, .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t count = recvmsg(connection->fd, &message, 0);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            break_connection(connection);
        return false;
    }
    connection->in.used += (size_t)count;
    connection->begun_in_read = 0;
    int64_t stamp_ns = find_stamp(&message);
    truth.user_stamps += !stamp_ns;
    connection->read_ns = stamp_ns ? stamp_ns : now_ns();
    return true;
}

static void take_input(Connection *connection) {
    if (connection->protocol == UNDECIDED) {
        connection->protocol = http2_recognise(connection);
        if (connection->protocol == HTTP2)
            http2_greet(connection);
    }
    if (connection->protocol == HTTP1)
        http1_receive(connection);
    else if (connection->protocol == HTTP2)
        http2_receive(connection);
}

static void accept_some(void) {
    for (int i = 0; i < MOST_ACCEPTS; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE)
                fail("cannot hold so many connections, raise the limit with ulimit -n");
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        Connection *connection = calloc(1, sizeof *connection);
        if (!connection)
            fail("out of memory");
        connection->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void take_event(const struct epoll_event *event) {
    if (event->data.ptr == &listen_fd) {
        accept_some();
        return;
    }
    Connection *connection = event->data.ptr;
    if (event->data.ptr == &timer_fd || connection->broken)
        return;
    if (event->events & EPOLLOUT)
        send_remaining(connection);
    if (event->events & ~(uint32_t)EPOLLOUT && read_once(connection))
        take_input(connection);
    close_if_done(connection);
}

/* ---- the loop ---- */

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
