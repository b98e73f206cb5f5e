// Lets llama.cpp's library quantize models and judge them, with what `whittle eval` measures.
//
//   quality importance MODEL.gguf TEXT OUT THREADS WINDOWS
//       mean squares of the inputs of every matrix in a layer, over so many windows of 512 tokens, or of the model's context where that is shorter
//   quality quantize IN.gguf OUT.gguf TYPE THREADS [IMPORTANCE]
//       one line of JSON: how many matrices fell back to another type than the one asked for
//   quality base MODEL.gguf OUT WINDOWS THREADS TEXT ..
//       log-probabilities as 32-bit floats [texts x windows, 255, vocab]
//   quality compare MODEL.gguf BASE WINDOWS THREADS TEXT ..
//       one line of JSON: KL(base || model) and perplexity, for each text and for all
//
// Windows do not overlap; the second half of each is scored, as llama.cpp's own `perplexity` does it.
#include "llama.h"
#include "ggml.h"
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

// Tokens of a window, and positions of its second half that have a next one: as long as the context of the model
// that is loaded, where that is shorter.
static int WINDOW = 512;
static int SCORED = WINDOW / 2 - 1;

static const std::map<std::string, llama_ftype> TYPES = {
    {"F32", LLAMA_FTYPE_ALL_F32},           {"F16", LLAMA_FTYPE_MOSTLY_F16},       {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0},
    {"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K},      {"Q5_K_M", LLAMA_FTYPE_MOSTLY_Q5_K_M}, {"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M},
    {"Q4_K_S", LLAMA_FTYPE_MOSTLY_Q4_K_S},  {"Q4_1", LLAMA_FTYPE_MOSTLY_Q4_1},     {"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0},
    {"IQ4_XS", LLAMA_FTYPE_MOSTLY_IQ4_XS},  {"Q3_K_M", LLAMA_FTYPE_MOSTLY_Q3_K_M}, {"Q3_K_S", LLAMA_FTYPE_MOSTLY_Q3_K_S},
    {"IQ3_XXS", LLAMA_FTYPE_MOSTLY_IQ3_XXS}, {"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K},    {"IQ2_M", LLAMA_FTYPE_MOSTLY_IQ2_M},
    {"IQ2_XXS", LLAMA_FTYPE_MOSTLY_IQ2_XXS}, {"IQ1_M", LLAMA_FTYPE_MOSTLY_IQ1_M},  {"IQ1_S", LLAMA_FTYPE_MOSTLY_IQ1_S},
    {"TQ2_0", LLAMA_FTYPE_MOSTLY_TQ2_0},    {"TQ1_0", LLAMA_FTYPE_MOSTLY_TQ1_0},
};

[[noreturn]] static void fail(const std::string &text) {
    std::fprintf(stderr, "quality: %s\n", text.c_str());
    std::exit(1);
}

static std::string read_text(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

static int fallbacks = 0;

static void log_line(ggml_log_level level, const char *text, void *) {
    if (std::strstr(text, "falling back") != nullptr) fallbacks++;
    else if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

// Sums of squares of the inputs of each matrix, and how many inputs there were.
struct Importance {
    std::map<std::string, std::vector<double>> squares;
    std::map<std::string, int64_t> count;
};

static bool collect(ggml_tensor *tensor, bool ask, void *data) {
    const ggml_tensor *weights = tensor->src[0], *input = tensor->src[1];
    if (tensor->op != GGML_OP_MUL_MAT || std::strncmp(weights->name, "blk.", 4) != 0) return !ask;
    if (ask || input->type != GGML_TYPE_F32) return true;
    auto &importance = *static_cast<Importance *>(data);
    auto &squares = importance.squares[weights->name];
    squares.resize(input->ne[0]);
    for (int64_t row = 0; row < input->ne[1]; row++) {
        const auto *x = reinterpret_cast<const float *>(static_cast<const char *>(input->data) + row * input->nb[1]);
        for (int64_t i = 0; i < input->ne[0]; i++) squares[i] += static_cast<double>(x[i]) * x[i];
    }
    importance.count[weights->name] += input->ne[1];
    return true;
}

// A loaded model with a context of one window.
struct Runner {
    llama_model *model;
    llama_context *context;
    const llama_vocab *vocab;

    Runner(const char *path, int threads, Importance *importance = nullptr) {
        auto model_params = llama_model_default_params();
        // Repacked weights would need a second copy, and importance must meet the plain products.
        model_params.use_extra_bufts = importance == nullptr;
        model = llama_model_load_from_file(path, model_params);
        if (model == nullptr) fail(std::string("cannot load ") + path);
        WINDOW = std::min(WINDOW, static_cast<int>(llama_model_n_ctx_train(model)));
        SCORED = WINDOW - WINDOW / 2 - 1;
        auto params = llama_context_default_params();
        params.n_ctx = params.n_batch = params.n_ubatch = WINDOW;
        params.n_threads = params.n_threads_batch = threads;
        if (importance != nullptr) {
            params.cb_eval = collect;
            params.cb_eval_user_data = importance;
        }
        context = llama_init_from_model(model, params);
        if (context == nullptr) fail(std::string("cannot run ") + path);
        vocab = llama_model_get_vocab(model);
    }

    // Whole windows of a text, at most `limit` of them.
    std::vector<std::vector<llama_token>> windows(const std::string &path, int limit) const {
        const std::string text = read_text(path);
        std::vector<llama_token> tokens(text.size() + 8);
        const int count = llama_tokenize(vocab, text.data(), text.size(), tokens.data(), tokens.size(), false, false);
        if (count < WINDOW) fail(path + " has less than one window");
        std::vector<std::vector<llama_token>> windows;
        for (int start = 0; start + WINDOW <= count && static_cast<int>(windows.size()) < limit; start += WINDOW) {
            windows.emplace_back(tokens.begin() + start, tokens.begin() + start + WINDOW);
            if (llama_vocab_get_add_bos(vocab)) windows.back()[0] = llama_vocab_bos(vocab);
        }
        return windows;
    }

    // Runs a window; logits of its second half can be asked for afterwards.
    void run(const std::vector<llama_token> &window) const {
        llama_memory_clear(llama_get_memory(context), true);
        llama_batch batch = llama_batch_init(WINDOW, 0, 1);
        batch.n_tokens = WINDOW;
        for (int i = 0; i < WINDOW; i++) {
            batch.token[i] = window[i];
            batch.pos[i] = i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = i >= WINDOW / 2;
        }
        if (llama_decode(context, batch) != 0) fail("the model cannot be run");
        llama_batch_free(batch);
    }

    // Logits of the `position`-th scored place less their log-sum-exp.
    void log_probs(int position, float *out) const {
        const float *logits = llama_get_logits_ith(context, WINDOW / 2 + position);
        const int size = llama_vocab_n_tokens(vocab);
        const float most = *std::max_element(logits, logits + size);
        double sum = 0;
        for (int i = 0; i < size; i++) sum += std::exp(logits[i] - most);
        const float total = static_cast<float>(std::log(sum)) + most;
        for (int i = 0; i < size; i++) out[i] = logits[i] - total;
    }
};

static int importance(const char *path, const char *text, const char *out, int threads, int limit) {
    Importance importance;
    const Runner runner(path, threads, &importance);
    for (const auto &window : runner.windows(text, limit)) runner.run(window);
    std::ofstream file(out, std::ios::binary);
    for (const auto &[name, squares] : importance.squares) {
        const uint32_t length = name.size(), size = squares.size();
        std::vector<float> means(size);
        for (uint32_t i = 0; i < size; i++) means[i] = squares[i] / importance.count[name];
        file.write(reinterpret_cast<const char *>(&length), 4).write(name.data(), length);
        file.write(reinterpret_cast<const char *>(&size), 4).write(reinterpret_cast<const char *>(means.data()), 4L * size);
    }
    return file.good() ? 0 : 1;
}

static int quantize(const char *in, const char *out, const std::string &type, int threads, const char *importance) {
    auto params = llama_model_quantize_default_params();
    const auto found = TYPES.find(type);
    if (found == TYPES.end()) fail("unknown type " + type);
    params.ftype = found->second;
    params.allow_requantize = true;
    params.nthread = threads;
    std::vector<std::string> names;
    std::vector<std::vector<float>> means;
    std::vector<llama_model_imatrix_data> entries;
    if (importance != nullptr) {
        std::ifstream file(importance, std::ios::binary);
        uint32_t length = 0;
        while (file.read(reinterpret_cast<char *>(&length), 4)) {
            names.emplace_back(length, '\0');
            file.read(names.back().data(), length).read(reinterpret_cast<char *>(&length), 4);
            means.emplace_back(length);
            file.read(reinterpret_cast<char *>(means.back().data()), 4L * length);
        }
        if (names.empty()) fail(std::string("no importance in ") + importance);
        for (size_t i = 0; i < names.size(); i++) entries.push_back({names[i].c_str(), means[i].data(), means[i].size()});
        entries.push_back({nullptr, nullptr, 0});
        params.imatrix = entries.data();
    }
    if (llama_model_quantize(in, out, &params) != 0) fail(std::string("cannot quantize ") + in);
    std::printf("{\"fallbacks\": %d}\n", fallbacks);
    return 0;
}

static int base(const char *path, const char *out, int limit, int threads, const std::vector<std::string> &texts) {
    const Runner runner(path, threads);
    std::FILE *file = std::fopen(out, "wb");
    if (file == nullptr) fail(std::string("cannot write ") + out);
    std::vector<float> row(llama_vocab_n_tokens(runner.vocab));
    for (const auto &text : texts) {
        for (const auto &window : runner.windows(text, limit)) {
            runner.run(window);
            for (int i = 0; i < SCORED; i++) {
                runner.log_probs(i, row.data());
                if (std::fwrite(row.data(), 4, row.size(), file) != row.size()) fail("the disk is full");
            }
        }
    }
    return std::fclose(file) == 0 ? 0 : 1;
}

// What is known of one scored place.
struct Score {
    double kl, loss, base_loss;
    bool same_top;
};

static void print(const std::vector<Score> &scores) {
    double kl = 0, squares = 0, loss = 0, base_loss = 0;
    size_t same = 0;
    std::vector<double> sorted;
    for (const auto &score : scores) {
        kl += score.kl;
        squares += score.kl * score.kl;
        loss += score.loss;
        base_loss += score.base_loss;
        same += score.same_top;
        sorted.push_back(score.kl);
    }
    std::sort(sorted.begin(), sorted.end());
    const double n = scores.size(), mean = kl / n;
    std::printf("{\"positions\": %zu, \"kl_mean\": %.6f, \"kl_se\": %.6f, \"kl_median\": %.6f, \"kl_p99\": %.5f, \"same_top\": %.5f, "
                "\"perplexity\": %.4f, \"base_perplexity\": %.4f}",
                scores.size(), mean, std::sqrt(std::max(0.0, squares / n - mean * mean) / (n - 1)), sorted[sorted.size() / 2],
                sorted[static_cast<size_t>(n * 0.99)], same / n, std::exp(loss / n), std::exp(base_loss / n));
}

static int compare(const char *path, const char *base, int limit, int threads, const std::vector<std::string> &texts) {
    const Runner runner(path, threads);
    const int vocab = llama_vocab_n_tokens(runner.vocab);
    const int file = open(base, O_RDONLY);
    struct stat status{};
    if (file < 0 || fstat(file, &status) != 0) fail(std::string("cannot read ") + base);
    const auto *reference = static_cast<const float *>(mmap(nullptr, status.st_size, PROT_READ, MAP_PRIVATE, file, 0));
    if (reference == MAP_FAILED) fail(std::string("cannot read ") + base);
    const float *end = reference + status.st_size / 4;
    std::vector<float> row(vocab);
    std::vector<Score> all;
    std::printf("{\"texts\": [");
    for (size_t t = 0; t < texts.size(); t++) {
        std::vector<Score> scores;
        for (const auto &window : runner.windows(texts[t], limit)) {
            if (end - reference < static_cast<long>(SCORED) * vocab) fail("the base has fewer windows");
            runner.run(window);
            for (int i = 0; i < SCORED; i++, reference += vocab) {
                runner.log_probs(i, row.data());
                double kl = 0;
                for (int k = 0; k < vocab; k++) kl += std::exp(reference[k]) * (reference[k] - row[k]);
                const int next = window[WINDOW / 2 + i + 1];
                const bool same = std::max_element(row.begin(), row.end()) - row.begin() ==
                                  std::max_element(reference, reference + vocab) - reference;
                scores.push_back({kl, -row[next], -reference[next], same});
            }
        }
        if (t > 0) std::printf(", ");
        print(scores);
        all.insert(all.end(), scores.begin(), scores.end());
    }
    std::printf("], \"all\": ");
    print(all);
    std::printf("}\n");
    return 0;
}

int main(int count, char **a) {
    llama_log_set(log_line, nullptr);
    llama_backend_init();
    const std::string verb = count > 1 ? a[1] : "";
    if (verb == "importance" && count == 7) return importance(a[2], a[3], a[4], std::atoi(a[5]), std::atoi(a[6]));
    if (verb == "quantize" && (count == 6 || count == 7)) return quantize(a[2], a[3], a[4], std::atoi(a[5]), count == 7 ? a[6] : nullptr);
    const std::vector<std::string> texts(a + std::min(count, 6), a + count);
    if (verb == "base" && !texts.empty()) return base(a[2], a[3], std::atoi(a[4]), std::atoi(a[5]), texts);
    if (verb == "compare" && !texts.empty()) return compare(a[2], a[3], std::atoi(a[4]), std::atoi(a[5]), texts);
    std::fprintf(stderr, "usage: see the head of quality.cpp\n");
    return 2;
}
