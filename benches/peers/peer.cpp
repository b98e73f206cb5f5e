// Drives llama.cpp's library so that it does what `whittle bench` does.
//
//   peer quantize IN.gguf OUT.gguf Q4_0|Q8_0|TQ2_0|F16
//   peer bandwidth THREADS                      -> one line of JSON: bytes read from memory per second
//   peer bench MODEL.gguf THREADS REPETITIONS   -> one line of JSON, medians over the repetitions
#include "llama.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <cstdint>
#include <sys/resource.h>
#include <thread>
#include <vector>

constexpr int PREFILL = 512;
constexpr int DECODE = 64;

static double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

static int quantize(const char *in, const char *out, const std::string &type) {
    auto params = llama_model_quantize_default_params();
    params.allow_requantize = true;
    params.nthread = 2;
    if (type == "Q4_0") params.ftype = LLAMA_FTYPE_MOSTLY_Q4_0;
    else if (type == "Q8_0") params.ftype = LLAMA_FTYPE_MOSTLY_Q8_0;
    else if (type == "TQ2_0") params.ftype = LLAMA_FTYPE_MOSTLY_TQ2_0;
    else if (type == "F16") params.ftype = LLAMA_FTYPE_MOSTLY_F16;
    else return 2;
    return static_cast<int>(llama_model_quantize(in, out, &params));
}

typedef uint64_t Line __attribute__((vector_size(64)));

// Reads a part of the memory, with or without asking for what follows: whichever is faster depends on the machine.
static uint64_t read_lines(const Line *part, size_t lines, bool ahead) {
    Line sums[4] = {};
    for (size_t i = 0; i + 4 <= lines; i += 4) {
        for (int k = 0; k < 4; k++) {
            if (ahead) __builtin_prefetch(part + i + k + 64);
            sums[k] += part[i + k];
        }
    }
    const Line sum = sums[0] + sums[1] + sums[2] + sums[3];
    return sum[0] + sum[7];
}

// Reads 1 GiB, more than any cache holds, in one part for each thread; the best of two ways, medians of nine.
static int bandwidth(int threads) {
    const size_t lines = (size_t(1) << 30) / sizeof(Line);
    std::vector<Line> memory(lines, Line{1});
    std::vector<uint64_t> sums(threads * 8);
    double best = 0;
    for (const bool ahead : {false, true}) {
        std::vector<double> rates;
        for (int r = 0; r < 9; r++) {
            const double start = seconds();
            std::vector<std::thread> readers;
            for (int t = 0; t < threads; t++) {
                const size_t part = lines / threads;
                readers.emplace_back([&, t, part, ahead] { sums[8 * t] += read_lines(memory.data() + part * t, part, ahead); });
            }
            for (auto &reader : readers) reader.join();
            rates.push_back((size_t(1) << 30) / (seconds() - start));
        }
        best = std::max(best, median(rates));
    }
    std::printf("{\"bytes_per_second\": %.0f, \"sum\": %llu}\n", best, static_cast<unsigned long long>(sums[0]));
    return 0;
}

static int bench(const char *path, int threads, int repetitions) {
    llama_model *model = llama_model_load_from_file(path, llama_model_default_params());
    if (model == nullptr) return 1;
    auto params = llama_context_default_params();
    params.n_ctx = PREFILL + DECODE;
    params.n_batch = params.n_ubatch = PREFILL;
    params.n_threads = params.n_threads_batch = threads;
    llama_context *context = llama_init_from_model(model, params);
    if (context == nullptr) return 1;
    const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    std::vector<llama_token> tokens(PREFILL);
    for (int i = 0; i < PREFILL; i++) tokens[i] = static_cast<llama_token>(static_cast<long>(i) * 7919 % vocab);
    std::vector<double> prefill, decode;
    for (int r = 0; r < repetitions; r++) {
        llama_memory_clear(llama_get_memory(context), true);
        double start = seconds();
        if (llama_decode(context, llama_batch_get_one(tokens.data(), PREFILL)) != 0) return 1;
        prefill.push_back(PREFILL / (seconds() - start));
        start = seconds();
        for (int i = 0; i < DECODE; i++) {
            if (llama_decode(context, llama_batch_get_one(&tokens[i], 1)) != 0) return 1;
        }
        decode.push_back(DECODE / (seconds() - start));
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("{\"prefill_tokens_per_second\": %.2f, \"decode_tokens_per_second\": %.2f, \"peak_rss_bytes\": %ld}\n", median(prefill),
                median(decode), usage.ru_maxrss * 1024);
    return 0;
}

int main(int count, char **arguments) {
    std::vector<std::string> a(arguments, arguments + count);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    if (count == 5 && a[1] == "quantize") return quantize(arguments[2], arguments[3], a[4]);
    if (count == 3 && a[1] == "bandwidth") return bandwidth(std::atoi(arguments[2]));
    if (count == 5 && a[1] == "bench") return bench(arguments[2], std::atoi(arguments[3]), std::atoi(arguments[4]));
    std::fprintf(stderr, "usage: peer quantize IN OUT TYPE | peer bench MODEL THREADS REPETITIONS\n");
    return 2;
}
