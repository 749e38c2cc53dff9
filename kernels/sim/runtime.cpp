// The scheduler of one block, and the meeting points of its threads.
//
// A host thread (Worker) runs one block at a time. CUDA threads are started in order on a fibre; a thread that waits (barrier,
// warp operation) gives the host thread back, and another fibre starts the next CUDA thread. A fibre whose thread returned starts
// the next one itself, so a kernel that never waits runs on one fibre like a plain loop. Fibres are kept for the next block.
#include "retort/kernels/sim/runtime.h"

#include "retort/kernels/check.h"
#include "retort/kernels/sim/access_checker.h"
#include "retort/kernels/sim/faults.h"
#include "retort/kernels/thread_team.h"

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <atomic>
#include <bit>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace retort::sim {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool has_asan = true;
#else
constexpr bool has_asan = false;
#endif
#if defined(RETORT_SIM_CHECK)
constexpr bool has_checker = true;
#else
constexpr bool has_checker = false;
#endif

constexpr std::size_t stack_bytes = has_asan ? 256 * 1024 : 128 * 1024;
constexpr int warp_lanes = 32;

// AddressSanitizer must be told which stack is in use.
struct StackBounds {
  const void* bottom = nullptr;
  std::size_t size = 0;
};
void leaving(void** fake_stack, StackBounds to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, to.bottom, to.size);
#else
  static_cast<void>(fake_stack), static_cast<void>(to);
#endif
}
void arrived(void* fake_stack, StackBounds* from) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, from ? &from->bottom : nullptr, from ? &from->size : nullptr);
#else
  static_cast<void>(fake_stack), static_cast<void>(from);
#endif
}

/// A fibre that is given up in the middle of a kernel leaves frames that AddressSanitizer still guards. It must forget them
/// before the memory goes back: the system may hand the same addresses to somebody else.
class FibreStacks : public boost::context::protected_fixedsize_stack {
 public:
  using Base = boost::context::protected_fixedsize_stack;
  using Base::Base;
  void deallocate(boost::context::stack_context& stack) noexcept {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(static_cast<char*>(stack.sp) - stack.size, stack.size);
#endif
    Base::deallocate(stack);
  }
};

struct Abort {};  // unwinds a CUDA thread after the block failed

const char* name(Meeting kind) {
  constexpr const char* names[] = {"__syncthreads", "__syncthreads_count", "__syncthreads_and", "__syncthreads_or"};
  return names[static_cast<int>(kind)];
}
const char* name(WarpOp op) {
  constexpr const char* names[] = {"__syncwarp",      "__shfl_sync",   "__shfl_up_sync", "__shfl_down_sync",
                                   "__shfl_xor_sync", "__ballot_sync", "__all_sync",     "__any_sync"};
  return names[static_cast<int>(op)];
}
std::string text(const uint3& i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }
std::string text(const dim3& i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }
std::string text(const std::source_location& where) {
  const std::string_view path = where.file_name();
  return fmt::format("{}:{}", path.substr(path.rfind('/') + 1), where.line());
}

struct Fibre {
  boost::context::fiber context;
  StackBounds stack;
};

struct Thread {
  enum class State { unstarted, running, at_barrier, at_warp, returned };
  State state = State::unstarted;
  uint3 index{};
  Fibre* fibre = nullptr;
  // What it waits for.
  WarpOp op = WarpOp::syncwarp;
  unsigned mask = 0;
  int argument = 0, width = warp_lanes;
  std::uint64_t value = 0, result = 0;
  std::source_location where;
};

class Worker {
 public:
  static Worker*& current() {
    static constinit thread_local Worker* worker = nullptr;
    return worker;
  }
  static Worker& mine() {
    static thread_local Worker worker;
    return worker;
  }

  Worker();
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Returns the error, empty when the block ran well.
  std::string run_block(const Launch& launch, const uint3& block);

  // What a kernel calls. The access checker looks away meanwhile.
  template <class Work>
  auto outside_kernel(Work&& work) {
    watch(false);
    const auto result = work();
    watch(true);
    return result;
  }
  int meet(Meeting kind, int predicate, const std::source_location& where);
  std::uint64_t warp_operation(WarpOp op, unsigned mask, std::uint64_t value, int argument, int width,
                               const std::source_location& where);
  void* shared() { return shared_; }

 private:
  void begin_block(const Launch& launch, const uint3& block);
  void enter(Fibre& fibre);
  void leave(Fibre& fibre, bool for_good = false);
  Fibre& idle_fibre();
  void fibre_main(Fibre& self);
  void run_thread(Thread& thread, Fibre& fibre);
  void become(Thread& thread);
  void wait(Thread& me, Thread::State state);
  void wake(Thread& thread);
  void resolve(unsigned mask, int first_thread);
  std::uint64_t shuffled(int lane, int first_thread);
  [[noreturn]] void raise(std::string message);
  void take_finding();
  void watch(bool on) {
    if (has_checker) checker_->watch(on);
  }
  std::string deadlock() const;
  std::string place() const { return fmt::format("block {}, thread {}", text(blockIdx), text(threads_[running_].index)); }
  std::string shape() const { return fmt::format("<<<{}, {}>>>", text(launch_->grid), text(launch_->block)); }

  const Launch* launch_ = nullptr;
  std::vector<Thread> threads_;
  std::size_t count_ = 0, next_ = 0, returned_ = 0, running_ = 0;
  std::vector<std::size_t> ready_;
  std::size_t ready_head_ = 0;

  struct Barrier {
    std::size_t arrived = 0;
    int count = 0;
    Meeting kind = Meeting::syncthreads;
    std::source_location where;
  } barrier_;

  std::deque<Fibre> fibres_;
  std::vector<Fibre*> idle_;
  boost::context::fiber scheduler_;
  StackBounds scheduler_stack_;
  bool aborting_ = false, quitting_ = false;
  std::string error_;
  void* shared_ = nullptr;
  std::unique_ptr<AccessChecker> checker_;
};

Worker::Worker() : shared_(std::aligned_alloc(128, shared_capacity)) {
  check<DeviceError>(shared_ != nullptr, "sim: no memory for {} bytes of shared memory", shared_capacity);
  if (has_checker) checker_ = std::make_unique<AccessChecker>();
}

Worker::~Worker() {
  quitting_ = true;
  count_ = next_ = 0;
  for (Fibre* fibre : idle_) enter(*fibre);
  std::free(shared_);
}

void Worker::enter(Fibre& fibre) {
  void* fake_stack = nullptr;
  leaving(&fake_stack, fibre.stack);
  fibre.context = std::move(fibre.context).resume();
  arrived(fake_stack, nullptr);
}

void Worker::leave(Fibre&, bool for_good) {
  void* fake_stack = nullptr;
  leaving(for_good ? nullptr : &fake_stack, scheduler_stack_);
  if (for_good) return;
  scheduler_ = std::move(scheduler_).resume();
  arrived(fake_stack, &scheduler_stack_);
}

Fibre& Worker::idle_fibre() {
  if (!idle_.empty()) {
    Fibre& fibre = *idle_.back();
    idle_.pop_back();
    return fibre;
  }
  Fibre& fibre = fibres_.emplace_back();
  FibreStacks allocator(stack_bytes);
  boost::context::stack_context stack = allocator.allocate();
  fibre.stack = {static_cast<const char*>(stack.sp) - stack.size, stack.size};
  fibre.context = boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack), allocator,
                                        [this, &fibre](boost::context::fiber&& scheduler) {
                                          scheduler_ = std::move(scheduler);
                                          arrived(nullptr, &scheduler_stack_);
                                          fibre_main(fibre);
                                          leave(fibre, true);
                                          return std::move(scheduler_);
                                        });
  return fibre;
}

void Worker::fibre_main(Fibre& self) {
  while (!quitting_) {
    while (next_ < count_ && !aborting_) run_thread(threads_[next_++], self);
    idle_.push_back(&self);
    leave(self);
  }
}

void Worker::run_thread(Thread& thread, Fibre& fibre) {
  thread.fibre = &fibre;
  try {
    become(thread);
    watch(true);
    launch_->body(launch_->arguments);
    watch(false);
    take_finding();
  } catch (const Abort&) {
    watch(false);
  }
  thread.state = Thread::State::returned;
  ++returned_;
}

void Worker::become(Thread& thread) {
  thread.state = Thread::State::running;
  running_ = static_cast<std::size_t>(&thread - threads_.data());
  threadIdx = thread.index;
  if (has_checker) {
    const auto low = reinterpret_cast<std::uintptr_t>(thread.fibre->stack.bottom);
    checker_->thread_runs(static_cast<int>(running_), low, low + thread.fibre->stack.size);
  }
}

void Worker::wait(Thread& me, Thread::State state) {
  take_finding();
  me.state = state;
  leave(*me.fibre);
  become(me);
  if (aborting_) throw Abort{};
}

void Worker::wake(Thread& thread) {
  thread.state = Thread::State::running;
  ready_.push_back(static_cast<std::size_t>(&thread - threads_.data()));
}

void Worker::raise(std::string message) {
  if (error_.empty()) error_ = std::move(message);
  aborting_ = true;
  throw Abort{};
}

void Worker::take_finding() {
  if (!has_checker || checker_->finding().kind == AccessChecker::Kind::none) return;
  const AccessChecker::Finding& found = checker_->finding();
  const auto thread = [&](int i) { return text(threads_[static_cast<std::size_t>(i)].index); };
  const std::string start = fmt::format("sim: kernel {}{}, block {}: ", launch_->name, shape(), text(blockIdx));
  const std::string code = fmt::format("; where: addr2line -Cife {}", code_location(found.code));
  if (found.kind == AccessChecker::Kind::uninitialised)
    raise(start + fmt::format("thread {} reads shared memory that nobody has written", thread(found.thread)) + code);
  if (found.kind == AccessChecker::Kind::out_of_bounds)
    raise(start +
          fmt::format("thread {} is past the {} bytes of dynamic shared memory", thread(found.thread), launch_->shared_bytes) +
          code);
  raise(start +
        fmt::format("race: thread {} {} a word that {} {} since the last barrier", thread(found.thread),
                    found.write ? "writes" : "reads", found.other < 0 ? "several threads" : "thread " + thread(found.other),
                    found.other_wrote ? "wrote" : "read") +
        code);
}

void Worker::begin_block(const Launch& launch, const uint3& block) {
  launch_ = &launch;
  count_ = launch.block.count();
  if (threads_.size() < count_) threads_.resize(count_);
  for (unsigned z = 0, i = 0; z < launch.block.z; ++z)
    for (unsigned y = 0; y < launch.block.y; ++y)
      for (unsigned x = 0; x < launch.block.x; ++x, ++i) {
        threads_[i].state = Thread::State::unstarted;
        threads_[i].index = {x, y, z};
      }
  next_ = returned_ = ready_head_ = 0;
  ready_.clear();
  barrier_.arrived = 0;
  aborting_ = false;
  error_.clear();
  ::blockIdx = block;
  ::blockDim = launch.block;
  ::gridDim = launch.grid;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(shared_, shared_capacity);
#endif
  std::memset(shared_, 0xff, launch.shared_bytes);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(static_cast<char*>(shared_) + launch.shared_bytes, shared_capacity - launch.shared_bytes);
#endif
  if (has_checker) checker_->block_begins(shared_, launch.shared_bytes, shared_capacity, launch.hazards);
}

std::string Worker::run_block(const Launch& launch, const uint3& block) {
  begin_block(launch, block);
  current() = this;
  for (;;) {
    if (aborting_) {
      for (std::size_t i = 0; i < next_; ++i)
        if (threads_[i].state != Thread::State::returned) enter(*threads_[i].fibre);
      break;
    }
    if (ready_head_ < ready_.size()) {
      const std::size_t i = ready_[ready_head_++];
      if (ready_head_ == ready_.size()) ready_.clear(), ready_head_ = 0;
      enter(*threads_[i].fibre);
    } else if (next_ < count_) {
      enter(idle_fibre());
    } else if (returned_ < count_) {
      error_ = deadlock();
      aborting_ = true;
    } else {
      break;
    }
  }
  current() = nullptr;
  return std::move(error_);
}

// Nobody can run: says who waits for what.
std::string Worker::deadlock() const {
  const std::string start = fmt::format("sim: kernel {}{}, block {}: ", launch_->name, shape(), text(blockIdx));
  for (std::size_t i = 0; i < count_ && barrier_.arrived > 0; ++i)
    if (threads_[i].state != Thread::State::at_barrier)
      return start + fmt::format("{} at {} was reached by {} of {} threads; thread {} {}", name(barrier_.kind),
                                 text(barrier_.where), barrier_.arrived, count_, text(threads_[i].index),
                                 threads_[i].state == Thread::State::returned
                                     ? "has returned"
                                     : fmt::format("waits in {} at {}", name(threads_[i].op), text(threads_[i].where)));
  for (std::size_t i = 0; i < count_; ++i)
    if (threads_[i].state == Thread::State::at_warp)
      return start + fmt::format("thread {} waits in {} at {} for lanes {:#010x}, which never come", text(threads_[i].index),
                                 name(threads_[i].op), text(threads_[i].where), threads_[i].mask);
  return start + "no thread can go on";
}

int Worker::meet(Meeting kind, int predicate, const std::source_location& where) {
  Thread& me = threads_[running_];
  const bool first = barrier_.arrived == 0;
  if (first) {
    barrier_.kind = kind;
    barrier_.where = where;
    barrier_.count = 0;
  } else if (barrier_.kind != kind || barrier_.where.line() != where.line() || barrier_.where.column() != where.column()) {
    raise(fmt::format("sim: kernel {}{}, {}: waits at {} {} while other threads wait at {} {}", launch_->name, shape(), place(),
                      name(kind), text(where), name(barrier_.kind), text(barrier_.where)));
  }
  barrier_.count += predicate != 0;
  if (++barrier_.arrived < count_) {
    wait(me, Thread::State::at_barrier);
    return static_cast<int>(me.result);
  }
  take_finding();
  const bool all = barrier_.count == static_cast<int>(count_);
  const int results[] = {0, barrier_.count, all, barrier_.count > 0};
  const int result = results[static_cast<int>(kind)];
  barrier_.arrived = 0;
  if (has_checker) checker_->barrier();
  for (std::size_t i = 0; i < count_; ++i)
    if (threads_[i].state == Thread::State::at_barrier) {
      threads_[i].result = static_cast<std::uint64_t>(result);
      wake(threads_[i]);
    }
  return result;
}

// The lane a shuffle reads, or the lane itself where CUDA gives the thread its own value back.
std::uint64_t Worker::shuffled(int lane, int first_thread) {
  const Thread& me = threads_[static_cast<std::size_t>(first_thread + lane)];
  const int segment = lane & ~(me.width - 1), end = segment + me.width;
  int from = lane;
  switch (me.op) {
    case WarpOp::shfl:
      from = segment + (me.argument & (me.width - 1));
      break;
    case WarpOp::shfl_up:
      from = lane - me.argument < segment ? lane : lane - me.argument;
      break;
    case WarpOp::shfl_down:
      from = lane + me.argument >= end ? lane : lane + me.argument;
      break;
    default:
      from = (lane ^ me.argument) >= end ? lane : lane ^ me.argument;
      break;
  }
  if ((me.mask >> from & 1u) == 0)
    raise(fmt::format("sim: kernel {}{}, block {}, thread {}: {} at {} reads lane {}, which is not in the mask {:#010x}",
                      launch_->name, shape(), text(blockIdx), text(me.index), name(me.op), text(me.where), from, me.mask));
  return threads_[static_cast<std::size_t>(first_thread + from)].value;
}

// All lanes of the mask have come: computes each one's result and lets them go on.
void Worker::resolve(unsigned mask, int first_thread) {
  unsigned votes = 0;
  for (int lane = 0; lane < warp_lanes; ++lane)
    if (mask >> lane & 1u)
      votes |= static_cast<unsigned>(threads_[static_cast<std::size_t>(first_thread + lane)].value & 1u) << lane;
  for (int lane = 0; lane < warp_lanes; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    Thread& thread = threads_[static_cast<std::size_t>(first_thread + lane)];
    switch (thread.op) {
      case WarpOp::syncwarp:
        thread.result = 0;
        break;
      case WarpOp::ballot:
        thread.result = votes;
        break;
      case WarpOp::all:
        thread.result = votes == mask;
        break;
      case WarpOp::any:
        thread.result = votes != 0;
        break;
      default:
        thread.result = shuffled(lane, first_thread);
        break;
    }
  }
  for (int lane = 0; lane < warp_lanes; ++lane)
    if (mask >> lane & 1u) {
      Thread& thread = threads_[static_cast<std::size_t>(first_thread + lane)];
      if (thread.state == Thread::State::at_warp) wake(thread);
    }
}

std::uint64_t Worker::warp_operation(WarpOp op, unsigned mask, std::uint64_t value, int argument, int width,
                                     const std::source_location& where) {
  Thread& me = threads_[running_];
  const int lane = static_cast<int>(running_) % warp_lanes, first_thread = static_cast<int>(running_) - lane;
  const auto start = [&] {
    return fmt::format("sim: kernel {}{}, {}: {} at {}", launch_->name, shape(), place(), name(op), text(where));
  };
  if ((mask >> lane & 1u) == 0) raise(fmt::format("{}: lane {} is not in its own mask {:#010x}", start(), lane, mask));
  if (width < 1 || width > warp_lanes || !std::has_single_bit(static_cast<unsigned>(width)))
    raise(fmt::format("{}: width {} is not a power of two up to 32", start(), width));
  me.op = op, me.mask = mask, me.value = value, me.argument = argument, me.width = width, me.where = where;
  bool complete = true;
  for (int other = 0; other < warp_lanes; ++other) {
    if ((mask >> other & 1u) == 0 || other == lane) continue;
    if (static_cast<std::size_t>(first_thread + other) >= count_)
      raise(fmt::format("{}: the mask {:#010x} names lane {}, which the block of {} threads does not have", start(), mask, other,
                        count_));
    const Thread& thread = threads_[static_cast<std::size_t>(first_thread + other)];
    if (thread.state == Thread::State::returned)
      raise(fmt::format("{}: the mask {:#010x} names lane {}, whose thread {} has returned", start(), mask, other,
                        text(thread.index)));
    if (thread.state != Thread::State::at_warp) {
      complete = false;
    } else if (thread.op != op || thread.mask != mask) {
      raise(fmt::format("{} with mask {:#010x} meets {} at {} with mask {:#010x} in lane {}", start(), mask, name(thread.op),
                        text(thread.where), thread.mask, other));
    }
  }
  if (!complete) {
    wait(me, Thread::State::at_warp);
    return me.result;
  }
  take_finding();
  resolve(mask, first_thread);
  if (has_checker && op == WarpOp::syncwarp) checker_->warp_barrier(first_thread / warp_lanes);
  return me.result;
}

void check_launch(const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  check<DeviceError>(threads >= 1 && threads <= 1024 && block.z <= 64,
                     "sim: kernel {}: a block of {} threads; CUDA allows 1 to 1024", launch.name, text(block));
  check<DeviceError>(grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535,
                     "sim: kernel {}: a grid of {} blocks; CUDA allows 1 to (2147483647,65535,65535)", launch.name, text(grid));
  check<DeviceError>(launch.shared_bytes <= shared_capacity, "sim: kernel {}: {} bytes of dynamic shared memory; sm_90 has {}",
                     launch.name, launch.shared_bytes, shared_capacity);
}

}  // namespace

int meet(Meeting kind, int predicate, const std::source_location& where) {
  Worker& worker = *Worker::current();
  return worker.outside_kernel([&] { return worker.meet(kind, predicate, where); });
}

std::uint64_t warp_operation(WarpOp kind, unsigned mask, std::uint64_t value, int argument, int width,
                             const std::source_location& where) {
  Worker& worker = *Worker::current();
  return worker.outside_kernel([&] { return worker.warp_operation(kind, mask, value, argument, width, where); });
}

void* dynamic_shared() { return Worker::current()->shared(); }

bool checks_accesses() { return has_checker; }

void run(ThreadTeam& team, const Launch& launch) {
  check_launch(launch);
  count_launch(launch.name);
  const std::int64_t blocks = std::int64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::string error;
  const auto task = [&](std::int64_t i, int) {
    if (failed.load(std::memory_order_relaxed)) return;
    // Under AddressSanitizer shared variables are ordinary statics: one block at a time in the whole program.
    static std::mutex one_block;
    std::unique_lock<std::mutex> alone(one_block, std::defer_lock);
    if (has_asan) alone.lock();
    const std::int64_t x = launch.grid.x, y = launch.grid.y;
    const uint3 block{static_cast<unsigned>(i % x), static_cast<unsigned>(i / x % y), static_cast<unsigned>(i / (x * y))};
    std::string message = Worker::mine().run_block(launch, block);
    if (message.empty()) return;
    const std::lock_guard<std::mutex> lock(mutex);
    if (error.empty()) error = std::move(message);
    failed = true;
  };
  team.run(blocks, task);
  if (failed) throw DeviceError(error);
}

}  // namespace retort::sim

// Compiler built-ins and not std::atomic_ref, whose functions the linker may take from the code that is compiled for the checker.
namespace {
template <class T>
T fetch_add(T* address, T value) {
  return __atomic_fetch_add(address, value, __ATOMIC_SEQ_CST);
}
template <class T>
T compare_and_swap(T* address, T compare, T value) {
  __atomic_compare_exchange_n(address, &compare, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return compare;
}
/// Replaces *address by change(*address); returns the old value.
template <class T, class Change>
T update(T* address, Change change) {
  T old;
  __atomic_load(address, &old, __ATOMIC_SEQ_CST);
  for (T now = change(old); !__atomic_compare_exchange(address, &old, &now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);)
    now = change(old);
  return old;
}
}  // namespace

int atomicAdd(int* address, int value) { return fetch_add(address, value); }
unsigned atomicAdd(unsigned* address, unsigned value) { return fetch_add(address, value); }
unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) { return fetch_add(address, value); }
float atomicAdd(float* address, float value) {
  return update(address, [value](float old) { return old + value; });
}
int atomicMax(int* address, int value) {
  return update(address, [value](int old) { return old < value ? value : old; });
}
int atomicMin(int* address, int value) {
  return update(address, [value](int old) { return value < old ? value : old; });
}
unsigned atomicOr(unsigned* address, unsigned value) { return __atomic_fetch_or(address, value, __ATOMIC_SEQ_CST); }
int atomicExch(int* address, int value) { return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST); }
int atomicCAS(int* address, int compare, int value) { return compare_and_swap(address, compare, value); }
unsigned atomicCAS(unsigned* address, unsigned compare, unsigned value) { return compare_and_swap(address, compare, value); }
void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
