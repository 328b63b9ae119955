// Passes every tensor of a function in every wrong way, through C++ and through C. A call that is
// not served must throw an error with the name of a parameter of this function, what was given and
// what is wanted, and must have written nothing.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "as_c.h"
#include "core/text.h"

namespace flashmla::tests {

// A function with a valid call, whose tensors can be replaced.
struct Subject {
  std::string name;
  std::vector<std::pair<std::string, TensorView*>> tensors;  // with the names of their parameters
  std::vector<std::span<std::byte>> written;
  std::function<void()> cpp;
  std::function<flashmla_status()> c;

  bool has(const std::string& argument) const {
    return std::ranges::any_of(tensors,
                               [&](const auto& tensor) { return tensor.first == argument; });
  }
  std::vector<std::byte> memory() const {
    std::vector<std::byte> bytes;
    for (const std::span<std::byte> part : written)
      bytes.insert(bytes.end(), part.begin(), part.end());
    return bytes;
  }
};

struct Spoil {
  std::string what;
  std::function<void(TensorView&)> apply;
  bool always_wrong;  // the error must name the spoiled tensor
};

// Sizes only become smaller, so that a call that accepts them stays inside its memory.
inline std::vector<Spoil> spoils_of(const TensorView& sound) {
  constexpr std::int64_t max_value = std::numeric_limits<std::int64_t>::max();
  std::vector<Spoil> spoils = {
      {"no tensor", [](TensorView& view) { view = {}; }, false},
      {"a null pointer", [](TensorView& view) { view.data = nullptr; }, true},
      {"one dimension less", [](TensorView& view) { --view.rank; }, sound.rank > 1},
      {"one dimension more", [](TensorView& view) { ++view.rank; }, true},
      {"device type 7", [](TensorView& view) { view.device.type = static_cast<DeviceType>(7); },
       true},
      {"cuda:3", [](TensorView& view) { view.device = {DeviceType::cuda, 3}; }, false},
      {"cpu:-1", [](TensorView& view) { view.device.index = -1; }, true},
      {"cpu:1", [](TensorView& view) { view.device.index = 1; }, false}};
  for (const std::int32_t rank : {-1, 6, 9, std::numeric_limits<std::int32_t>::max()})
    spoils.push_back({text("rank ", rank), [rank](TensorView& view) { view.rank = rank; }, true});
  for (int type = -1; type <= 8; ++type)
    if (static_cast<DType>(type) != sound.dtype)
      spoils.push_back({text("dtype ", type),
                        [type](TensorView& view) { view.dtype = static_cast<DType>(type); },
                        type < 0 || type == 8});
  if (size_of(sound.dtype) > 1)
    spoils.push_back({"a misaligned pointer",
                      [](TensorView& view) { view.data = static_cast<std::byte*>(view.data) + 1; },
                      true});
  for (std::size_t d = 0; d < static_cast<std::size_t>(sound.rank); ++d) {
    for (const std::int64_t size :
         {sound.shape[d] - 1, std::int64_t{0}, std::int64_t{-1}, -max_value})
      spoils.push_back({text("size ", size, " of dimension ", d),
                        [d, size](TensorView& view) { view.shape[d] = size; }, size < 0});
    for (const std::int64_t size : {max_value, max_value / 2})
      spoils.push_back({text("size ", size, " of dimension ", d),
                        [d, size](TensorView& view) { view.shape[d] = size; }, true});
    for (const std::int64_t stride : {std::int64_t{-1}, -max_value, max_value})
      spoils.push_back({text("stride ", stride, " of dimension ", d),
                        [d, stride](TensorView& view) { view.strides[d] = stride; },
                        stride < 0 || sound.shape[d] > 2});
  }
  return spoils;
}

inline void expect_a_name(const Subject& subject, const std::string& own, bool exact,
                          const std::string& argument, const std::string& given,
                          const std::string& wanted) {
  if (exact)
    EXPECT_EQ(argument, own);
  else
    EXPECT_TRUE(subject.has(argument)) << argument;
  EXPECT_NE(given, "");
  EXPECT_NE(wanted, "");
}

// Returns whether the call is served. Where it is not, the error is checked.
inline bool served_in_cpp(const Subject& subject, const std::string& own, bool exact,
                          std::string& argument) {
  try {
    subject.cpp();
    return true;
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::device_failure);
    argument = error.argument();
    expect_a_name(subject, own, exact, argument, error.given(), error.wanted());
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
  }
  return false;
}

inline void sweep(const Subject& subject) {
  ASSERT_NO_THROW(subject.cpp()) << subject.name;
  ASSERT_EQ(subject.c(), FLASHMLA_OK) << subject.name << ": " << flashmla_last_error();
  int refused = 0;
  for (const auto& [name, view] : subject.tensors) {
    const TensorView sound = *view;
    for (const Spoil& spoil : spoils_of(sound)) {
      SCOPED_TRACE(text(subject.name, ": ", name, " given ", spoil.what));
      spoil.apply(*view);
      const std::vector<std::byte> before = subject.memory();
      std::string argument;
      const bool served = served_in_cpp(subject, name, spoil.always_wrong, argument);
      const flashmla_status status = subject.c();
      EXPECT_EQ(status == FLASHMLA_OK, served) << flashmla_last_error();
      if (served) {
        EXPECT_FALSE(spoil.always_wrong);
      } else {
        ++refused;
        EXPECT_EQ(flashmla_last_error_argument(), in_c(argument)) << flashmla_last_error();
        EXPECT_STRNE(flashmla_last_error_given(), "");
        EXPECT_STRNE(flashmla_last_error_wanted(), "");
        EXPECT_EQ(subject.memory(), before) << "written in spite of the error";
      }
      *view = sound;
    }
  }
  EXPECT_GT(refused, 20 * static_cast<int>(subject.tensors.size())) << subject.name;
  EXPECT_NO_THROW(subject.cpp());
}

template <class T>
std::span<std::byte> bytes_of(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

}  // namespace flashmla::tests
