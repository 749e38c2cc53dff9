#include "retort/kernels/sim/hazards.h"

#include "retort/kernels/check.h"

#include <algorithm>
#include <cstdlib>

namespace retort::sim {

void HazardCheck::Free::operator()(Word* words) const { std::free(words); }

HazardCheck::HazardCheck() {
  for (const MemoryBlock& block : memory_blocks()) {
    // Of the system's zero pages only those are taken that are touched.
    auto* words = static_cast<Word*>(std::calloc(block.bytes / 4 + 1, sizeof(Word)));
    check<DeviceError>(words != nullptr, "cuda_sim: no memory to watch a replay");
    owned_.push_back({reinterpret_cast<std::uintptr_t>(block.pointer), block.bytes, std::unique_ptr<Word[], Free>(words)});
  }
  std::ranges::sort(owned_, {}, &Block::begin);
  blocks_ = owned_.data();
  count_ = owned_.size();
}

void HazardCheck::touch(std::uintptr_t address, bool write) {
  std::size_t first = 0;
  for (std::size_t count = count_; count > 1;) {  // the last block that begins at the address or before
    const std::size_t half = count / 2;
    if (blocks_[first + half].begin <= address) first += half;
    count -= half;
  }
  if (count_ == 0 || address - blocks_[first].begin >= blocks_[first].bytes) return;  // the host's: arguments, constants
  Word& word = blocks_[first].words.get()[(address - blocks_[first].begin) / 4];
  const auto load = [](const std::uint16_t& number) { return __atomic_load_n(&number, __ATOMIC_RELAXED); };
  const int mine = piece_.beside ? 1 : 0, others = 1 - mine;
  const std::uint16_t wrote = load(word.written[others]), read = load(word.read[others]);
  if (wrote > piece_.waits_for)
    report(blocks_[first], address, write, true, wrote);
  else if (write && read > piece_.waits_for)
    report(blocks_[first], address, true, false, read);
  std::uint16_t& last = (write ? word.written : word.read)[mine];
  if (load(last) != piece_.number) __atomic_store_n(&last, piece_.number, __ATOMIC_RELAXED);
}

void HazardCheck::touch(const void* first, std::size_t bytes, bool write) {
  const auto begin = reinterpret_cast<std::uintptr_t>(first);
  for (std::uintptr_t at = begin & ~std::uintptr_t{3}; at < begin + bytes; at += 4) touch(at, write);
}

void HazardCheck::report(const Block& block, std::uintptr_t address, bool write, bool other_wrote, std::uint16_t other) {
  if (__atomic_test_and_set(&found_, __ATOMIC_RELAXED)) return;
  finding_ = {piece_, other, write, other_wrote, block.bytes, address - block.begin};
}

}  // namespace retort::sim
