// The one table of ops, shapes and tolerances. Every test of kernels runs over it: each implementation on each device against the
// double reference (kernels_cpu_test, and the same for cuda_sim, cuda and simd), the reference's gradients against finite
// differences (kernels_gradient_test), the same bits for any number of threads (kernels_thread_test).
#pragma once

#include "retort/kernels/registry.h"
#include "retort/kernels/stream.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort::op_cases {

/// What a buffer holds before the run. Everything is a float exactly, so that the double reference sees the same numbers.
enum class Fill {
  normal,
  small,        ///< normal / 8: weights of sums over many inputs
  positive,     ///< uniform in [0.5, 2)
  away_from_0,  ///< normal, moved so that |x| > 0.05: no kink of a ReLU or |x| within reach of a finite difference
  mostly_zero,  ///< normal, but three of five zero: behind a ReLU and a pool
  few_values,   ///< -2, -1, 0, 1 or 2: ties
  with_nan,     ///< normal, every fifth or so NaN
  offset,       ///< 10 + normal: a mean that is large beside the deviation
  far,          ///< 1000 + normal: logits whose exponential overflows and whose log-sum-exp has few digits left
  zero,
  index,         ///< int32 in [0, limit)
  bad_labels,    ///< int32 in [-1, limit]: some out of range
  constant_int,  ///< int32 `limit`
};

enum class Role {
  input,        ///< must be the same afterwards
  overwritten,  ///< NaN before the run
  accumulated,  ///< filled before the run and updated by it
  derived,      ///< an input that `derive` computes from the others (the forward's output, which backward reads)
};

struct Buffer {
  std::string name;
  std::int64_t count;  ///< 0: the kernel gets a null pointer
  Role role;
  Fill fill = Fill::normal;
  std::int64_t limit = 0;
  bool integer = false;
};

/// The buffers of a run by name, on whichever device. T: double for the reference, float for kernels.
template <class T>
class Arguments {
 public:
  void set(const std::string& name, void* pointer) { pointers_[name] = pointer; }
  T* operator[](const char* name) const { return static_cast<T*>(find(name)); }
  std::int32_t* ints(const char* name) const { return static_cast<std::int32_t*>(find(name)); }

 private:
  void* find(const char* name) const {
    const auto at = pointers_.find(name);
    return at == pointers_.end() ? nullptr : at->second;
  }
  std::map<std::string, void*> pointers_;
};

struct OpCase {
  std::string op, label;
  double tolerance = 1e-5;  ///< on ‖out - ref‖ / ‖ref‖ of every float output; integers must be equal
  double work = 0;          ///< multiply-adds, roughly: lets slow devices leave the big ones out
  std::vector<Buffer> buffers{};

  std::function<void(Stream&, const Arguments<double>&)> reference{};
  std::function<void(Stream&, std::string_view implementation, const Arguments<float>&)> launch{};
  std::function<std::vector<std::string>(Device)> implementations{};  ///< names registered for this op
  std::function<void(Stream&, const Arguments<double>&)> derive{};    ///< fills the derived buffers

  /// For cases that compute gradients: a scalar function of the inputs, and (gradient buffer, input buffer) pairs.
  std::function<double(Stream&, const Arguments<double>&)> objective{};
  std::vector<std::pair<std::string, std::string>> gradients{};

  OpCase& add(std::string name, std::int64_t count, Role role, Fill fill = Fill::normal, std::int64_t limit = 0);
  OpCase& input(std::string name, std::int64_t count, Fill fill = Fill::normal, std::int64_t limit = 0) {
    return add(std::move(name), count, Role::input, fill, limit);
  }
  OpCase& output(std::string name, std::int64_t count) { return add(std::move(name), count, Role::overwritten); }
  OpCase& accumulated(std::string name, std::int64_t count, Fill fill = Fill::normal) {
    return add(std::move(name), count, Role::accumulated, fill);
  }
  OpCase& derived(std::string name, std::int64_t count) { return add(std::move(name), count, Role::derived); }
  /// The last added buffer holds int32.
  OpCase& as_integer() {
    buffers.back().integer = true;
    return *this;
  }
  const Buffer& buffer(const std::string& name) const;
  std::string title() const { return op + ": " + label; }

  /// `call(function, stream, arguments)` puts the arguments in order, once for the reference and for every implementation.
  template <class Kernels, class Function, class Reference, class Call>
  OpCase& bind(Function Kernels::*member, Reference reference_function, Call call) {
    op = Kernels::op;
    reference = [=](Stream& stream, const Arguments<double>& a) { call(reference_function, stream, a); };
    launch = [=](Stream& stream, std::string_view implementation, const Arguments<float>& a) {
      call(KernelTable<Kernels>::instance().get(stream.device(), implementation).*member, stream, a);
    };
    implementations = [](Device device) { return KernelTable<Kernels>::instance().info(device).names; };
    return *this;
  }
};

/// The table.
const std::vector<OpCase>& all();

// Its parts.
void add_layer_cases(std::vector<OpCase>& table);
void add_conv_block_cases(std::vector<OpCase>& table);
void add_norm_cases(std::vector<OpCase>& table);
void add_norm_pool_cases(std::vector<OpCase>& table);
void add_elementwise_cases(std::vector<OpCase>& table);
void add_loss_cases(std::vector<OpCase>& table);
void add_optimizer_cases(std::vector<OpCase>& table);
void add_recurrent_cases(std::vector<OpCase>& table);

/// Values by buffer name; integers are held as doubles.
using Values = std::map<std::string, std::vector<double>>;

/// Starting values of every buffer, a function of (case, seed) alone; overwritten buffers are NaN. With `round`, derived values
/// are rounded to float like the others (as a kernel will get them).
Values make_values(const OpCase& c, std::uint64_t seed, bool round = true);

/// Runs `function` on host copies of `values` and writes the results back into it.
void on_host(const OpCase& c, Values& values, const std::function<void(Stream&, const Arguments<double>&)>& function);

/// make_values, and what the reference turned them into. Values for which an output is a lone sum that happens to be next to zero
/// are drawn again.
struct Problem {
  Values before, expected;
};
Problem make_problem(const OpCase& c, std::uint64_t seed);

/// Runs one implementation and returns the values of all outputs. `failure` names a write outside a buffer or to an input.
struct Outcome {
  Values outputs;
  std::string failure;
};
Outcome run(const OpCase& c, const Problem& problem, Stream& stream, std::string_view implementation);

/// ‖out - expected‖ / ‖expected‖; infinite when a NaN stands in only one of the two. Both zero: 0.
double relative_error(const std::vector<double>& out, const std::vector<double>& expected);

/// Empty when every output is within tolerance, else one line with the worst output and its error.
std::string compare(const OpCase& c, const Problem& problem, const Outcome& outcome);

/// Whether Stream::tf32 changes what the op computes, and every output has enough numbers for a relative norm to be steady: a
/// single sum of rounded products may be next to zero.
bool shows_tf32(const OpCase& c);
constexpr double tf32_tolerance = 3e-3;

/// All of it: makes the problem, runs, compares.
std::string run_case(const OpCase& c, Stream& stream, std::string_view implementation, std::uint64_t seed);

/// A seed that differs from run to run, or RETORT_SEED from the environment to repeat one.
std::uint64_t fresh_seed();

}  // namespace retort::op_cases
