/*
 * The inner loop of constant_rate.py: sends requests when they are due, and writes down how long each took.
 *
 * In C, as a generator in Python had one core for itself at 43,000 requests a second, and what it measured was its
 * own queue.
 *
 * constant_rate ADDRESS PORT CONNECTIONS RATE STATUS PATIENCE < REQUESTS > TIMES
 *
 * REQUESTS are HTTP requests without bodies, one behind the other.  The first one is sent once on each connection
 * beforehand, or what it takes to accept 32 connections at once would be most of the slowest hundredth.
 *
 * Of TIMES, doubles in s, the first is how long it took in all.  Then come two for each request: how long an answer
 * took from when it was due, in the order of the answers, and how late one was sent though a connection was idle (-1:
 * none was), in the order of the requests.
 *
 * Exit status 1 and a line on stderr: an answer with another STATUS, or none for PATIENCE seconds.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536 /* bytes of an answer */

struct connection {
    int socket;
    double due;
    size_t size;
    char answer[MOST + 1];
};

struct request {
    const char *text;
    size_t size;
};

struct time {
    double latency, late;
};

static struct sockaddr_in server;
static int poller;

static void give_up(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory)
        give_up("no memory for %zu bytes", size);
    return memory;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* All of the standard input, with a 0 behind it. */
static char *read_all(void) {
    size_t room = 1 << 20, size = 0;
    char *text = allocate(room);
    ssize_t came;
    while ((came = read(0, text + size, room - size - 1)) > 0) {
        size += came;
        if (size + 1 == room && !(text = realloc(text, room *= 2)))
            give_up("no memory for %zu bytes", room);
    }
    text[size] = 0;
    return text;
}

static struct request *take_apart(const char *text, size_t *total) {
    size_t room = 1 << 10;
    struct request *requests = allocate(room * sizeof *requests);
    const char *end;
    for (*total = 0; (end = strstr(text, "\r\n\r\n")); text = end) {
        end += 4;
        if (*total == room && !(requests = realloc(requests, (room *= 2) * sizeof *requests)))
            give_up("no memory for %zu requests", room);
        requests[(*total)++] = (struct request){text, end - text};
    }
    return requests;
}

static void open_connection(struct connection *connection) {
    int yes = 1;
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = connection};
    connection->socket = socket(AF_INET, SOCK_STREAM, 0);
    connection->size = 0;
    if (connection->socket < 0 || connect(connection->socket, (struct sockaddr *)&server, sizeof server) ||
        setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) ||
        epoll_ctl(poller, EPOLL_CTL_ADD, connection->socket, &readable))
        give_up("no connection: %s", strerror(errno));
}

static void send_request(struct connection *connection, const struct request *request) {
    if (send(connection->socket, request->text, request->size, MSG_NOSIGNAL) != (ssize_t)request->size)
        give_up("a request was not sent: %s", strerror(errno));
}

/* Whether this was the end of an answer. */
static int receive(struct connection *connection, int status) {
    char *answer = connection->answer, *end, *length;
    ssize_t came = recv(connection->socket, answer + connection->size, MOST - connection->size, 0);
    if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        give_up("no answer in time, after %zu bytes of it", connection->size);
    if (came <= 0)
        give_up("the connection was closed after %zu bytes of an answer", connection->size);
    connection->size += came;
    answer[connection->size] = 0;
    if (!(end = strstr(answer, "\r\n\r\n"))) {
        if (connection->size == MOST)
            give_up("an answer has more than %d bytes", MOST);
        return 0;
    }
    length = strcasestr(answer, "\r\nContent-Length:");
    if (!length || length > end)
        give_up("an answer without Content-Length: %.300s", answer);
    if (connection->size < (size_t)(end + 4 - answer) + strtoul(length + 17, NULL, 10))
        return 0;
    if (strncmp(answer, "HTTP/1.", 7) || atoi(answer + 9) != status)
        give_up("expected %d, found %.300s", status, answer);
    length = strcasestr(answer, "\r\nConnection: close");
    connection->size = 0;
    if (length && length < end) {
        close(connection->socket);
        open_connection(connection);
    }
    return 1;
}

static void await_answer(struct connection *connection, int status, double patience) {
    struct timeval longest = {(time_t)patience, (suseconds_t)(1e6 * (patience - (time_t)patience))};
    setsockopt(connection->socket, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
    while (!receive(connection, status))
        ;
}

int main(int count, char **words) {
    if (count != 7)
        give_up("usage: constant_rate ADDRESS PORT CONNECTIONS RATE STATUS PATIENCE");
    size_t connections = atoi(words[3]), total, sent = 0, answered = 0, idle = 0, next = 0;
    double rate = atof(words[4]), patience = atof(words[6]), began, heard, seconds;
    int status = atoi(words[5]), crowded = 0;
    struct request *requests = take_apart(read_all(), &total);
    struct time *times = allocate(total * sizeof *times);
    struct connection *all = allocate(connections * sizeof *all), **free = allocate(connections * sizeof *free);
    struct epoll_event *events = allocate(connections * sizeof *events);

    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    if (inet_pton(AF_INET, words[1], &server.sin_addr) != 1)
        give_up("%s is no IPv4 address", words[1]);
    if ((poller = epoll_create1(0)) < 0)
        give_up("epoll: %s", strerror(errno));
    for (; idle < connections; idle++) {
        free[idle] = &all[idle];
        open_connection(free[idle]);
        if (total) {
            send_request(free[idle], &requests[0]);
            await_answer(free[idle], status, patience);
        }
    }
    began = heard = now();
    while (answered < total) {
        double at = now(), due = 0, wait = patience;
        for (; sent < total && idle; sent++) {
            due = rate > 0 ? began + sent / rate : began;
            if (due > at)
                break;
            free[next]->due = due;
            times[sent].late = crowded ? -1 : at - due;
            send_request(free[next], &requests[sent]);
            next = (next + 1) % connections;
            idle--;
            at = now();
        }
        crowded = !idle;
        if (sent < total && idle && due - at < wait)
            wait = due > at ? due - at : 0;
        struct timespec longest = {(time_t)wait, (long)(1e9 * (wait - (time_t)wait))};
        int readable = epoll_pwait2(poller, events, connections, &longest, NULL);
        if (readable < 0 && errno != EINTR)
            give_up("epoll: %s", strerror(errno));
        at = now();
        if (readable > 0)
            heard = at;
        else if (idle < connections && at - heard > patience)
            give_up("no answer within %g s, after %zu of %zu", patience, answered, total);
        for (int n = 0; n < readable; n++) {
            struct connection *connection = events[n].data.ptr;
            if (receive(connection, status)) {
                times[answered++].latency = now() - connection->due;
                free[(next + idle++) % connections] = connection;
            }
        }
    }
    seconds = now() - began;
    if (fwrite(&seconds, sizeof seconds, 1, stdout) != 1 || fwrite(times, sizeof *times, total, stdout) != total ||
        fflush(stdout))
        give_up("the times were not written: %s", strerror(errno));
    return 0;
}
