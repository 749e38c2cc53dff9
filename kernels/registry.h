// op x device x implementation name -> functions.
//
// Each op's contract (kernels/<op>.h) is a struct of plain function pointers with a static `op` name. An implementation is one
// filled struct, added under a device and a name ("ref", "eigen", "simd", "cuda", "cudnn", ...). core/ops asks
// `kernel<K>(device)`. The registry is the program's only global mutable state: it is filled once, and changed only by
// `use_implementation`.
#pragma once

#include "retort/kernels/check.h"
#include "retort/kernels/device.h"

#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// What `retort info` prints: one row an op and device.
struct ImplementationInfo {
  std::string op;
  Device device;
  std::vector<std::string> names;  ///< in order of preference
  std::string in_use;
};

/// The part of a kernel table that does not depend on the contract's type.
class KernelTableBase {
 public:
  virtual ~KernelTableBase() = default;
  virtual std::string_view op() const = 0;
  virtual bool select(Device device, std::string_view name) = 0;  ///< false: no such name on this device
  virtual ImplementationInfo info(Device device) const = 0;

 protected:
  static void enlist(KernelTableBase* table);
};

template <class Kernels>
class KernelTable final : public KernelTableBase {
 public:
  static KernelTable& instance() {
    static KernelTable table;
    return table;
  }

  /// Higher `preference` is the default. Preferences used here: ref 0, eigen 10, simd 20; cuda 10, vendor twins 0.
  void add(Device device, std::string_view name, int preference, const Kernels& kernels) {
    auto& row = rows_[static_cast<int>(device)];
    auto at = row.begin();
    while (at != row.end() && at->preference >= preference) ++at;
    row.insert(at, Entry{std::string(name), preference, kernels});
    selected_[static_cast<int>(device)] = 0;
  }

  const Kernels& get(Device device) const {
    const auto& row = rows_[static_cast<int>(device)];
    if (row.empty()) [[unlikely]]
      fail<DeviceError>("{}: no kernel for device {} in this build", Kernels::op, retort::name(device));
    return row[selected_[static_cast<int>(device)]].kernels;
  }

  const Kernels& get(Device device, std::string_view name) const {
    for (const auto& entry : rows_[static_cast<int>(device)])
      if (entry.name == name) return entry.kernels;
    fail("{}: no implementation '{}' for device {}; `retort info` lists them", Kernels::op, name, retort::name(device));
  }

  std::string_view op() const override { return Kernels::op; }

  bool select(Device device, std::string_view name) override {
    const auto& row = rows_[static_cast<int>(device)];
    for (std::size_t i = 0; i < row.size(); ++i)
      if (row[i].name == name) {
        selected_[static_cast<int>(device)] = i;
        return true;
      }
    return false;
  }

  ImplementationInfo info(Device device) const override {
    const auto& row = rows_[static_cast<int>(device)];
    ImplementationInfo info{std::string(Kernels::op), device, {}, {}};
    for (const auto& entry : row) info.names.push_back(entry.name);
    if (!row.empty()) info.in_use = row[selected_[static_cast<int>(device)]].name;
    return info;
  }

 private:
  struct Entry {
    std::string name;
    int preference;
    Kernels kernels;
  };
  KernelTable() { enlist(this); }

  std::vector<Entry> rows_[device_count];
  std::size_t selected_[device_count] = {};
};

/// The implementation in use for `Kernels` on `device`.
template <class Kernels>
const Kernels& kernel(Device device) {
  return KernelTable<Kernels>::instance().get(device);
}

/// Fills the registry with everything linked in. Idempotent and thread-safe; Context calls it.
void register_kernels();

/// Every op and device that has at least one implementation, in alphabetical order.
std::vector<ImplementationInfo> list_implementations();

/// Selects one implementation by name, e.g. ("conv2d", Device::cuda, "cudnn"); op "*" means every op that has that name.
/// Throws InputError naming the alternatives.
void use_implementation(std::string_view op, Device device, std::string_view name);

/// Several at once, as `--impl` takes them: "conv2d=cudnn,linear=cublaslt"; a name without an op ("eigen") is for every op that
/// has it. From left to right; empty text changes nothing.
void use_implementations(std::string_view list, Device device);

}  // namespace retort
