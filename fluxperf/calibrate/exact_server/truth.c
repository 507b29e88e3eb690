/* The truth: every duration as it was, and their summary as JSON. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>

/* Beyond so many values (128 MiB) a series only counts. */
#define MOST_VALUES ((size_t)1 << 24)

Truth truth;

void series_add(Series *series, int64_t value_ns) {
    if (series->used == series->room) {
        size_t room = series->room ? series->room * 2 : 1 << 16;
        int64_t *values_ns = room <= MOST_VALUES ? realloc(series->values_ns, room * sizeof *values_ns) : NULL;
        if (!values_ns) {
            series->dropped++;
            return;
        }
        series->values_ns = values_ns;
        series->room = room;
    }
    series->values_ns[series->used++] = value_ns;
}

void truth_reset(void) {
    Series *all[] = {&truth.ttft, &truth.itl, &truth.e2e, &truth.late};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]->values_ns);
    truth = (Truth){0};
}

static int by_value(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

/* The smallest value with at least `percent` of all at or below it (nearest rank), in ms. */
static double percentile_ms(const Series *series, size_t percent) {
    size_t rank = (series->used * percent + 99) / 100;
    return (double)series->values_ns[rank - 1] / 1e6;
}

static int print_series(char *text, size_t room, const char *name, Series *series) {
    if (!series->used)
        return snprintf(text, room, ", \"%s\": {\"n\": 0, \"mean\": null, \"p50\": null, \"p90\": null, "
                                    "\"p99\": null, \"max\": null}", name);
    double sum_ns = 0;
    for (size_t i = 0; i < series->used; i++)
        sum_ns += (double)series->values_ns[i];
    qsort(series->values_ns, series->used, sizeof *series->values_ns, by_value);
    return snprintf(text, room,
                    ", \"%s\": {\"n\": %zu, \"mean\": %.6f, \"p50\": %.6f, \"p90\": %.6f, \"p99\": %.6f, "
                    "\"max\": %.6f, \"dropped\": %zu}",
                    name, series->used, sum_ns / (double)series->used / 1e6, percentile_ms(series, 50),
                    percentile_ms(series, 90), percentile_ms(series, 99), percentile_ms(series, 100), series->dropped);
}

int truth_print(char *text, size_t room) {
    int used = snprintf(text, room,
                        "{\"requests\": %llu, \"finished\": %llu, \"aborted\": %llu, \"tokens\": %llu, "
                        "\"connections\": %llu, \"user_stamps\": %llu, \"shared_arrivals\": %llu, \"held\": %llu",
                        (unsigned long long)truth.requests, (unsigned long long)truth.finished,
                        (unsigned long long)truth.aborted, (unsigned long long)truth.tokens,
                        (unsigned long long)truth.connections, (unsigned long long)truth.user_stamps,
                        (unsigned long long)truth.shared_arrivals, (unsigned long long)truth.held);
    struct { const char *name; Series *series; } all[] = {
        {"ttft_ms", &truth.ttft}, {"itl_ms", &truth.itl}, {"e2e_ms", &truth.e2e}, {"late_ms", &truth.late},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        used += print_series(text + used, room - (size_t)used, all[i].name, all[i].series);
    return used + snprintf(text + used, room - (size_t)used, "}\n");
}
