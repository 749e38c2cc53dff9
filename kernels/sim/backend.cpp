// Device::cuda_sim: host memory, and the kernels of kernels/cuda compiled for the host.
#include "retort/kernels/backends.h"
#include "retort/kernels/check.h"
#include "retort/kernels/cuda/all.h"
#include "retort/kernels/sim/faults.h"
#include "retort/kernels/sim/hazards.h"
#include "retort/kernels/sim/queue.h"
#include "retort/kernels/sim/runtime.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

namespace retort {
namespace sim {
namespace {

constexpr double mib = 1 << 20;

Faults from_environment() {
  const auto number = [](const char* name, auto otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? static_cast<decltype(otherwise)>(std::strtoll(text, nullptr, 10)) : otherwise;
  };
  return {number("RETORT_SIM_MEMORY", Faults{}.memory), number("RETORT_SIM_FAULT", Faults{}.launch)};
}

/// The simulated device: what it has been given, and whether a kernel has failed.
struct Machine {
  Faults faults = from_environment();
  std::mutex mutex;
  std::unordered_map<const void*, std::size_t> blocks;
  std::size_t used = 0, peak = 0;
  std::atomic<std::int64_t> launches = 0;
  std::atomic<bool> broken = false;
};

// Never destroyed: tensors of the program's last moments still give memory back.
Machine& machine() {
  static auto* machine = new Machine;
  return *machine;
}

void* allocate(std::size_t bytes) {
  expect_working("allocate");
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  const std::size_t free = m.faults.memory - std::min(m.used, m.faults.memory);
  check<DeviceError>(bytes <= free,
                     "cuda_sim: out of memory: {} bytes ({:.1f} MiB) were asked for, {:.1f} of the simulated {:.1f} MiB are free; "
                     "use a smaller batch",
                     bytes, static_cast<double>(bytes) / mib, static_cast<double>(free) / mib,
                     static_cast<double>(m.faults.memory) / mib);
  void* pointer = host_memory().allocate(bytes);
  m.blocks.emplace(pointer, bytes);
  m.used += bytes;
  m.peak = std::max(m.peak, m.used);
  return pointer;
}

void release(void* pointer) noexcept {
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  if (const auto at = m.blocks.find(pointer); at != m.blocks.end()) {
    m.used -= at->second;
    m.blocks.erase(at);
  }
  host_memory().release(pointer);
}

void fill_zero(void* pointer, std::size_t bytes) {
  expect_working("fill_zero");
  host_memory().fill_zero(pointer, bytes);
}

void copy(void* to, const void* from, std::size_t bytes) {
  expect_working("copy");
  host_memory().copy(to, from, bytes);
}

void synchronize() { expect_working("synchronize"); }

}  // namespace

void inject(const Faults& faults) {
  Machine& m = machine();
  const std::lock_guard lock(m.mutex);
  m.faults = faults;
  m.launches = 0;
  m.peak = m.used;
  m.broken = false;
}

std::int64_t launches() { return machine().launches; }

std::size_t peak_memory() {
  const std::lock_guard lock(machine().mutex);
  return machine().peak;
}

std::vector<MemoryBlock> memory_blocks() {
  const std::lock_guard lock(machine().mutex);
  std::vector<MemoryBlock> blocks;
  for (const auto& [pointer, bytes] : machine().blocks) blocks.push_back({pointer, bytes});
  return blocks;
}

void count_launch(const char* name) {
  expect_working(name);
  Machine& m = machine();
  if (++m.launches != m.faults.launch) return;
  m.broken = true;
  fail<DeviceError>("cuda_sim: {} failed: launch {} was to meet an illegal address (RETORT_SIM_FAULT)", name, m.faults.launch);
}

void expect_working(const char* call) {
  check<DeviceError>(!machine().broken, "cuda_sim: {} failed: a kernel failed before", call);
}

}  // namespace sim

bool cuda_sim_available() { return true; }

std::string cuda_sim_describe() {
  const int threads = ThreadTeam::available();
  return fmt::format("cuda_sim: the CUDA kernels on {} host thread{}{}", threads, threads == 1 ? "" : "s",
                     sim::checks_accesses() ? ", shared-memory accesses checked" : "");
}

const DeviceMemory& cuda_sim_memory() {
  static constexpr DeviceMemory table{sim::allocate, sim::release, sim::fill_zero,  sim::copy,
                                      sim::copy,     sim::copy,    sim::synchronize};
  return table;
}

std::unique_ptr<Queue> make_cuda_sim_queue() { return sim::make_queue(); }

void register_cuda_sim_kernels() { register_gpu_kernels<Device::cuda_sim>(); }

}  // namespace retort
