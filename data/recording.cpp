#include "retort/data/recording.h"

#include "retort/core/error.h"
#include "retort/core/file.h"
#include "retort/data/csv.h"
#include "retort/data/mhealth.h"
#include "retort/data/sleep.h"
#include "retort/data/wisdm.h"

#include <openssl/evp.h>

#include <array>

namespace retort {

std::int64_t RawDataset::samples() const {
  std::int64_t total = 0;
  for (const Recording& recording : recordings) total += static_cast<std::int64_t>(recording.samples());
  return total;
}

namespace {

std::vector<std::int32_t> missing_labels(std::size_t classes, const std::vector<bool>& seen) {
  std::vector<std::int32_t> out;
  for (std::size_t label = 0; label < classes; ++label)
    if (!seen[label]) out.push_back(static_cast<std::int32_t>(label));
  return out;
}

}  // namespace

std::vector<std::int32_t> RawDataset::missing_task1() const {
  std::vector<bool> seen(task1_names.size());
  for (const Recording& recording : recordings)
    for (const std::int32_t label : recording.task1) seen[static_cast<std::size_t>(label)] = true;
  return missing_labels(task1_names.size(), seen);
}

std::vector<std::int32_t> RawDataset::missing_task2() const {
  std::vector<bool> seen(task2_names.size());
  for (const Recording& recording : recordings) seen[static_cast<std::size_t>(recording.task2)] = true;
  return missing_labels(task2_names.size(), seen);
}

RawDataset read_raw(std::string_view id, const std::filesystem::path& path, const ReadOptions& options) {
  if (id == "sleep") return read_sleep(path, options);
  if (id == "mhealth") return read_mhealth(path, options);
  if (id == "wisdm") return read_wisdm(path, options);
  if (id == "csv") return read_csv(path, options);
  fail<InputError>("unknown data set '{}'; known are sleep, mhealth, wisdm and csv", id);
}

std::string sha256_of_file(const std::filesystem::path& path) { return sha256_of_text(MappedFile(path).text()); }

std::string sha256_of_text(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  check(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr) == 1,
        "sha256: libcrypto refuses to compute it");
  std::string out;
  for (unsigned int i = 0; i < size; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

}  // namespace retort
