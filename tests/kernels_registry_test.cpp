#include "catch.h"
#include "retort/kernels/conv2d.h"
#include "retort/kernels/linear.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/stream.h"
#include "retort/kernels/thread_team.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
// The test asks for too much memory on purpose; AddressSanitizer shall refuse it like any allocator instead of stopping.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif

namespace {

using namespace retort;

/// Gives every op its default back, whatever the test did.
struct RestoreDefaults {
  ~RestoreDefaults() {
    for (const auto& info : list_implementations()) use_implementation(info.op, info.device, info.names.front());
  }
};

template <class Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST_CASE("implementations are listed in order of preference and chosen by name") {
  RestoreDefaults restore;
  const auto list = list_implementations();
  REQUIRE(list.size() >= 18);
  CHECK(std::is_sorted(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.op < b.op; }));
  for (const auto& info : list) CHECK(info.in_use == info.names.front());

  register_kernels();  // again: must not add a second copy
  CHECK(list_implementations().size() == list.size());
  CHECK(list_implementations()[0].names == list[0].names);

  const auto& table = KernelTable<Conv2dKernels>::instance();
  CHECK(kernel<Conv2dKernels>(Device::cpu).forward != table.get(Device::cpu, "ref").forward);
  use_implementation("conv2d", Device::cpu, "ref");
  CHECK(kernel<Conv2dKernels>(Device::cpu).forward == table.get(Device::cpu, "ref").forward);
  CHECK(table.info(Device::cpu).in_use == "ref");
  CHECK(KernelTable<LinearKernels>::instance().info(Device::cpu).in_use != "ref");
  use_implementation("*", Device::cpu, "ref");
  for (const auto& info : list_implementations())
    if (info.device == Device::cpu) CHECK(info.in_use == "ref");
}

TEST_CASE("a list chooses implementations op by op") {
  RestoreDefaults restore;
  const auto conv = [] { return KernelTable<Conv2dKernels>::instance().info(Device::cpu).in_use; };
  const auto linear = [] { return KernelTable<LinearKernels>::instance().info(Device::cpu).in_use; };
  const std::string before = linear();
  use_implementations("", Device::cpu);
  CHECK(linear() == before);
  use_implementations("conv2d=ref,linear=eigen", Device::cpu);
  CHECK((conv() == "ref" && linear() == "eigen"));
  use_implementations("ref,conv2d=eigen", Device::cpu);
  CHECK((conv() == "eigen" && linear() == "ref"));
  CHECK_THROWS_AS(use_implementations("conv2d=", Device::cpu), InputError);
  CHECK_THROWS_AS(use_implementations("=ref", Device::cpu), InputError);
  CHECK_THROWS_AS(use_implementations("conv2d=eigen,,", Device::cpu), InputError);
  CHECK_THROWS_AS(use_implementations("magic", Device::cpu), InputError);
  const auto unknown = message_of([] { use_implementations("conv3d=eigen", Device::cpu); });
  CHECK(unknown.find("'conv3d'") != std::string::npos);
  CHECK(unknown.find("batch_norm, ") != std::string::npos);
}

TEST_CASE("unknown names are answered with the known ones") {
  CHECK_THROWS_AS(use_implementation("conv3d", Device::cpu, "ref"), InputError);
  CHECK_THROWS_AS(use_implementation("conv2d", Device::cpu, "magic"), InputError);
  const auto message = message_of([] { use_implementation("conv2d", Device::cpu, "magic"); });
  CHECK(message.find("eigen") != std::string::npos);
  CHECK(message.find("ref") != std::string::npos);
  CHECK_THROWS_AS(KernelTable<Conv2dKernels>::instance().get(Device::cpu, "magic"), Error);
}

TEST_CASE("devices have names, and a missing one says what to do") {
  for (const Device device : {Device::cpu, Device::cuda, Device::cuda_sim}) {
    CHECK(parse_device(name(device)) == device);
    CHECK_FALSE(describe(device).empty());
    CHECK(describe(device).find('\n') == std::string::npos);
    if (is_available(device)) {
      CHECK_NOTHROW(Stream(device));
    } else {
      CHECK_THROWS_AS(memory(device), DeviceError);
      CHECK_THROWS_AS(Stream(device), DeviceError);
      CHECK_THROWS_AS(kernel<Conv2dKernels>(device), DeviceError);
      if (describe(device).find("not in this build") != std::string::npos)
        CHECK(message_of([&] { memory(device); }).find("configure with -DRETORT_") != std::string::npos);
    }
  }
  CHECK_THROWS_AS(parse_device("gpu"), InputError);
  CHECK_THROWS_AS(parse_device(""), InputError);
}

TEST_CASE("CPU memory is aligned, and running out says how much was asked for") {
  const DeviceMemory& table = memory(Device::cpu);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{4096}, std::size_t{1} << 20}) {
    void* pointer = table.allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(pointer) % 64 == 0);
    table.fill_zero(pointer, bytes);
    table.release(pointer);
  }
  table.release(nullptr);
  CHECK_THROWS_AS(table.allocate(std::numeric_limits<std::size_t>::max()), DeviceError);
  CHECK_THROWS_AS(table.allocate(std::size_t{1} << 60), DeviceError);
  CHECK(message_of([&] { table.allocate(std::size_t{1} << 60); }).find("1152921504606846976 bytes") != std::string::npos);
}

TEST_CASE("scratch grows, stays and is aligned; streams move") {
  Stream stream(Device::cpu, 2);
  void* small = stream.scratch(100);
  CHECK(reinterpret_cast<std::uintptr_t>(small) % 64 == 0);
  CHECK(stream.scratch(50) == small);
  CHECK(stream.scratch(0) == small);
  void* large = stream.scratch(1 << 20);
  CHECK(stream.scratch(100) == large);
  Stream other = std::move(stream);
  CHECK(other.scratch(100) == large);
  CHECK(other.threads().size() == 2);
  Stream third(Device::cpu, 1);
  third = std::move(other);
  CHECK(third.scratch(100) == large);
  CHECK(third.threads().size() == 2);
  third.synchronize();
}

}  // namespace
