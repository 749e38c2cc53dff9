// The simulator itself: what CUDA's documentation promises a kernel ("CUDA C++ Programming Guide", chapter 10) holds, and what it
// forbids is reported with kernel, block and thread.
#include "catch.h"

#include "retort/kernels/cuda/block.cuh"

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace retort;

/// The message of the DeviceError that `work` throws; empty when it throws none.
template <class Work>
std::string message_of(Work&& work) {
  try {
    work();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Stream simulated(int threads = 2) { return Stream(Device::cuda_sim, threads); }

// ---- what is promised

void coordinates_kernel(int* visits) {
  const dim3 g = gridDim, b = blockDim;
  const unsigned block = (blockIdx.z * g.y + blockIdx.y) * g.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * b.y + threadIdx.y) * b.x + threadIdx.x;
  atomicAdd(&visits[block * b.x * b.y * b.z + thread], 1);
}

TEST_CASE("every thread of a three-dimensional launch runs once") {
  Stream stream = simulated();
  const dim3 grid(3, 2, 5), block(7, 3, 2);
  std::vector<int> visits(3 * 2 * 5 * 7 * 3 * 2, 0);
  launch({stream, "coordinates", grid, block}, coordinates_kernel, visits.data());
  CHECK(visits == std::vector<int>(visits.size(), 1));
}

void shuffle_kernel(int kind, int argument, int width, int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32, value = 100 + static_cast<int>(threadIdx.x);
  int result = 0;
  if (kind == 0) result = __shfl_sync(full_warp, value, argument, width);
  if (kind == 1) result = __shfl_up_sync(full_warp, value, static_cast<unsigned>(argument), width);
  if (kind == 2) result = __shfl_down_sync(full_warp, value, static_cast<unsigned>(argument), width);
  if (kind == 3) result = __shfl_xor_sync(full_warp, value, argument, width);
  out[threadIdx.x] = result - 100 - (static_cast<int>(threadIdx.x) - lane);  // the lane that was read
}

TEST_CASE("shuffles read the documented lane for every width") {
  Stream stream = simulated();
  for (const int width : {2, 4, 8, 16, 32})
    for (const int argument : {0, 1, 3, 5, 16, 31})
      for (int kind = 0; kind < 4; ++kind) {
        CAPTURE(width, argument, kind);
        std::vector<int> read(64, -1), expected(64);
        launch({stream, "shuffle", dim3(1), dim3(64)}, shuffle_kernel, kind, argument, width, read.data());
        for (int thread = 0; thread < 64; ++thread) {
          const int lane = thread % 32, group = lane / width * width;
          int from = group + argument % width;
          if (kind == 1) from = lane - argument < group ? lane : lane - argument;
          if (kind == 2) from = lane + argument >= group + width ? lane : lane + argument;
          if (kind == 3) from = (lane ^ argument) >= group + width ? lane : lane ^ argument;
          expected[static_cast<std::size_t>(thread)] = from;
        }
        CHECK(read == expected);
      }
}

void shuffle_double_kernel(double* out) { out[threadIdx.x] = __shfl_xor_sync(full_warp, 0.1 * threadIdx.x, 1); }

TEST_CASE("64-bit values are shuffled whole") {
  Stream stream = simulated();
  std::vector<double> out(32);
  launch({stream, "shuffle_double", dim3(1), dim3(32)}, shuffle_double_kernel, out.data());
  for (unsigned i = 0; i < 32; ++i) CHECK(out[i] == 0.1 * (i ^ 1u));
}

// Even and odd lanes go different ways and vote among themselves.
void vote_kernel(unsigned* out) {
  const unsigned lane = threadIdx.x, even = 0x55555555u;
  if (lane % 2 == 0) {
    out[lane * 3] = __ballot_sync(even, lane < 8);
    out[lane * 3 + 1] = static_cast<unsigned>(__all_sync(even, lane < 31));
    out[lane * 3 + 2] = static_cast<unsigned>(__any_sync(even, lane == 31));
  } else {
    out[lane * 3] = __ballot_sync(~even, lane < 8);
    out[lane * 3 + 1] = static_cast<unsigned>(__all_sync(~even, lane < 31));
    out[lane * 3 + 2] = static_cast<unsigned>(__any_sync(~even, lane == 31));
  }
}

TEST_CASE("votes count the lanes of the mask and no others") {
  Stream stream = simulated();
  std::vector<unsigned> out(96, 77);
  launch({stream, "vote", dim3(1), dim3(32)}, vote_kernel, out.data());
  for (std::size_t lane = 0; lane < 32; ++lane) {
    CAPTURE(lane);
    const bool even = lane % 2 == 0;
    CHECK(out[lane * 3] == (even ? 0x55u : 0xaau));
    CHECK(out[lane * 3 + 1] == (even ? 1u : 0u));
    CHECK(out[lane * 3 + 2] == (even ? 0u : 1u));
  }
}

void barrier_vote_kernel(int* out) {
  const int count = __syncthreads_count(threadIdx.x % 3 == 0), all = __syncthreads_and(threadIdx.x < 95),
            any = __syncthreads_or(threadIdx.x == 95);
  atomicAdd(&out[0], count);
  atomicAdd(&out[1], all);
  atomicAdd(&out[2], any);
}

TEST_CASE("barriers that vote give every thread the block's answer") {
  Stream stream = simulated();
  std::vector<int> out(3, 0);
  launch({stream, "barrier_vote", dim3(1), dim3(96)}, barrier_vote_kernel, out.data());
  CHECK(out == std::vector<int>{96 * 32, 0, 96});
}

// The block's threads, last first, through shared memory: static, then dynamic.
void reverse_kernel(const int* in, int* out) {
  __shared__ int fixed[128];
  int* flexible = dynamic_shared<int>();
  const unsigned i = threadIdx.x, last = blockDim.x - 1;
  const int value = in[blockIdx.x * blockDim.x + i];
  fixed[i] = value;
  __syncthreads();
  flexible[i] = fixed[last - i] + static_cast<int>(blockIdx.x);
  __syncthreads();
  out[blockIdx.x * blockDim.x + i] = flexible[last - i] - static_cast<int>(blockIdx.x) * 2;
}

TEST_CASE("shared memory belongs to a block and is seen by all its threads after a barrier") {
  Stream stream = simulated();
  for (const unsigned threads : {1u, 31u, 33u, 128u}) {
    CAPTURE(threads);
    const unsigned blocks = 97;
    std::vector<int> in(blocks * threads), out(in.size(), -1), expected(in.size());
    std::iota(in.begin(), in.end(), 0);
    for (std::size_t i = 0; i < in.size(); ++i) expected[i] = in[i] - static_cast<int>(i / threads);
    launch({stream, "reverse", dim3(blocks), dim3(threads), threads * sizeof(int)}, reverse_kernel, in.data(), out.data());
    CHECK(out == expected);
  }
}

void atomics_kernel(int* sum, int* largest, unsigned* bits, int* tickets) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(sum, i);
  atomicMax(largest, i);
  atomicOr(bits, 1u << (i % 32));
  int seen = *static_cast<volatile int*>(tickets);  // a ticket drawn with compare-and-swap
  for (int old = atomicCAS(tickets, seen, seen + 1); old != seen; old = atomicCAS(tickets, seen, seen + 1)) seen = old;
}

TEST_CASE("atomics hold between blocks on different host threads") {
  Stream stream = simulated();
  int sum = 0, largest = -1, tickets = 0;
  unsigned bits = 0;
  launch({stream, "atomics", dim3(50), dim3(40)}, atomics_kernel, &sum, &largest, &bits, &tickets);
  CHECK(sum == 1999 * 2000 / 2);
  CHECK(largest == 1999);
  CHECK(bits == 0xffffffffu);
  CHECK(tickets == 2000);
}

void last_block_kernel(std::int32_t* counter, int* partial, int* result) {
  if (threadIdx.x == 0) partial[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  if (!last_block(counter, static_cast<int>(gridDim.x))) return;
  int sum = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += partial[i];
  if (threadIdx.x == 0) *result += sum;
}

TEST_CASE("exactly one block is the last, and the counter is ready for the next launch") {
  Stream stream = simulated();
  std::vector<int> partial(61);
  int result = 0;
  for (int repeat = 0; repeat < 3; ++repeat)
    launch({stream, "last_block", dim3(61), dim3(64)}, last_block_kernel, stream.counters(), partial.data(), &result);
  CHECK(result == 3 * 61 * 62 / 2);
}

void block_sum_kernel(float* out) {
  __shared__ float warps[32];
  const float sum = block_sum(static_cast<float>(threadIdx.x), warps);
  out[threadIdx.x] = sum;
}

TEST_CASE("a block's sum reaches every thread") {
  Stream stream = simulated();
  for (const unsigned threads : {32u, 96u, 1024u}) {
    std::vector<float> out(threads);
    launch({stream, "block_sum", dim3(1), dim3(threads)}, block_sum_kernel, out.data());
    CHECK(out == std::vector<float>(threads, static_cast<float>(threads * (threads - 1) / 2)));
  }
}

// ---- what is reported

void half_at_barrier_kernel() {
  if (threadIdx.x < 32) __syncthreads();
}

void two_barriers_kernel() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads_count(1);
}

void barrier_against_warp_kernel() {
  if (threadIdx.x == 5)
    __syncthreads();
  else
    __syncwarp();
}

TEST_CASE("a barrier that not all threads reach is an error that says where") {
  Stream stream = simulated();
  const auto error = [&](auto kernel) {
    return message_of([&] { launch({stream, "planted.barrier", dim3(3), dim3(64)}, kernel); });
  };
  const std::string half = error(half_at_barrier_kernel);
  CAPTURE(half);
  CHECK(contains(half, "planted.barrier<<<(3,1,1), (64,1,1)>>>"));
  CHECK(contains(half, "__syncthreads at kernels_sim_runtime_test.cpp:"));
  CHECK(contains(half, "was reached by 32 of 64 threads; thread (32,0,0) has returned"));
  CHECK(contains(error(two_barriers_kernel), "__syncthreads_count"));
  const std::string mixed = error(barrier_against_warp_kernel);
  CAPTURE(mixed);
  CHECK(contains(mixed, "waits in __syncwarp"));
  // The simulator is as good as new.
  std::vector<int> out(3, 0);
  launch({stream, "barrier_vote", dim3(1), dim3(96)}, barrier_vote_kernel, out.data());
  CHECK(out[0] == 96 * 32);
}

void from_returned_lane_kernel(int* out) {
  if (threadIdx.x == 7) return;
  *out = __shfl_xor_sync(full_warp, 1, 1);
}
void outside_mask_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1, 20);
}
void not_in_own_mask_kernel() { __syncwarp(0x0000ffffu); }
void different_masks_kernel() { __syncwarp(threadIdx.x == 3 ? 0x0000000fu : full_warp); }

TEST_CASE("a warp operation with a lane that is absent is an error") {
  Stream stream = simulated();
  std::vector<int> out(32);
  const auto error = [&](unsigned threads, auto kernel, auto... arguments) {
    const std::string text = message_of([&] { launch({stream, "planted.warp", dim3(1), dim3(threads)}, kernel, arguments...); });
    CAPTURE(text);
    CHECK(contains(text, "planted.warp"));
    return text;
  };
  CHECK(contains(error(32, from_returned_lane_kernel, out.data()), "names lane 7, whose thread (7,0,0) has returned"));
  CHECK(contains(error(32, outside_mask_kernel, out.data()), "reads lane 20, which is not in the mask 0x0000ffff"));
  CHECK(contains(error(32, not_in_own_mask_kernel), "lane 16 is not in its own mask"));
  CHECK(contains(error(32, different_masks_kernel), "with mask 0x0000000f"));
  CHECK(contains(error(20, from_returned_lane_kernel, out.data()), "which the block of 20 threads does not have"));
}

TEST_CASE("a launch that CUDA would refuse is refused") {
  Stream stream = simulated();
  const auto error = [&](dim3 grid, dim3 block, std::size_t shared = 0) {
    return message_of([&] { launch({stream, "planted.launch", grid, block, shared}, half_at_barrier_kernel); });
  };
  CHECK(contains(error(dim3(1), dim3(1025)), "CUDA allows 1 to 1024"));
  CHECK(contains(error(dim3(1), dim3(0)), "CUDA allows 1 to 1024"));
  CHECK(contains(error(dim3(0), dim3(32)), "a grid of (0,1,1) blocks"));
  CHECK(contains(error(dim3(1, 65536), dim3(32)), "a grid of (1,65536,1) blocks"));
  CHECK(contains(error(dim3(1), dim3(32), 300000), "300000 bytes of dynamic shared memory"));
}

// ---- the access checker

__device__ int neighbour(int i) { return (i + 1) % 64; }

void missing_barrier_kernel(bool barrier, int* out) {
  __shared__ int values[64];
  const int i = static_cast<int>(threadIdx.x);
  values[i] = 0;
  __syncthreads();
  values[i] = i;
  if (barrier) __syncthreads();
  out[i] = values[neighbour(i)];
}
void overwrite_kernel(bool barrier, int* out) {
  __shared__ int values[64];
  const int i = static_cast<int>(threadIdx.x);
  values[i] = i;
  __syncthreads();
  const int read = values[neighbour(i)];
  if (barrier) __syncthreads();
  values[i] = -read;
  out[i] = values[i];
}
void same_word_kernel(bool separate, int* out) {
  __shared__ int values[64];
  values[separate ? threadIdx.x : 0] = 1;
  __syncthreads();
  out[threadIdx.x] = values[0];
}
// Within a warp __syncwarp is barrier enough; a shuffle is not.
void warp_exchange_kernel(bool barrier, int* out) {
  __shared__ int values[64];
  const int i = static_cast<int>(threadIdx.x);
  values[i] = i;
  if (barrier)
    __syncwarp();
  else
    __shfl_sync(full_warp, i, 0);
  out[i] = values[i ^ 1];
}
void unwritten_kernel(bool write, int* out) {
  __shared__ int values[64];
  if (write || threadIdx.x != 9) values[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = values[threadIdx.x];
}
void past_the_end_kernel(bool enough, int* out) {
  int* values = dynamic_shared<int>();
  values[threadIdx.x + (enough ? 0u : 1u)] = 1;
  out[threadIdx.x] = 0;
}
void global_race_kernel(bool separate, int* out) { out[separate ? threadIdx.x : threadIdx.x / 2] = 1; }

TEST_CASE("planted races and stray accesses are found, and the correct kernels pass") {
  if (!sim::checks_accesses()) {
    WARN("skipped: kernels are compiled without the access checker (RETORT_SIM_CHECK)");
    return;
  }
  Stream stream = simulated();
  std::vector<int> out(64);
  const auto error = [&](auto kernel, bool correct) {
    return message_of([&] {
      launch({stream, "planted.access", dim3(2), dim3(64), 64 * sizeof(int)}, kernel, correct, out.data());
    });
  };
  struct Case {
    void (*kernel)(bool, int*);
    const char* expected;
  };
  const Case cases[] = {
      {missing_barrier_kernel, "race: thread (0,0,0) writes a word that thread (63,0,0) read since"},
      {overwrite_kernel, "writes a word that thread"},
      {same_word_kernel, "race: thread (1,0,0) writes a word that thread (0,0,0) wrote"},
      {warp_exchange_kernel, "reads a word that thread"},
      {unwritten_kernel, "thread (9,0,0) reads shared memory that nobody"},
      {past_the_end_kernel, "thread (63,0,0) is past the 256 bytes"},
      // Not which thread: global memory's table of cells may have forgotten a word for another one that shares its cell.
      {global_race_kernel, "writes a word that thread"},
  };
  for (const Case& planted : cases) {
    CAPTURE(planted.expected);
    CHECK(error(planted.kernel, true) == "");
    const std::string text = error(planted.kernel, false);
    CAPTURE(text);
    CHECK(contains(text, planted.expected));
    CHECK(contains(text, "kernels_sim_runtime_test"));  // where, for addr2line
  }
}

}  // namespace
