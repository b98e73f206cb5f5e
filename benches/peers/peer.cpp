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
#include <numeric>
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

// Reads 1 GiB, more than any cache holds, in one part for each thread.
static int bandwidth(int threads) {
    const size_t words = (size_t(1) << 30) / sizeof(uint64_t);
    std::vector<uint64_t> memory(words, 1);
    std::vector<uint64_t> sums(threads * 8);
    std::vector<double> rates;
    for (int r = 0; r < 5; r++) {
        const double start = seconds();
        std::vector<std::thread> readers;
        for (int t = 0; t < threads; t++) {
            readers.emplace_back([&, t] {
                const uint64_t *part = memory.data() + words / threads * t;
                uint64_t sum[8] = {};
                for (size_t i = 0; i + 8 <= words / threads; i += 8)
                    for (int lane = 0; lane < 8; lane++) sum[lane] += part[i + lane];
                sums[8 * t] = std::accumulate(sum, sum + 8, uint64_t(0));
            });
        }
        for (auto &reader : readers) reader.join();
        rates.push_back((size_t(1) << 30) / (seconds() - start));
    }
    std::printf("{\"bytes_per_second\": %.0f, \"sum\": %llu}\n", median(rates), static_cast<unsigned long long>(sums[0]));
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
