// Runs the built command as a child process.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace flashmla::tests {

struct CommandResult {
  int status;  // exit status; 128 + the signal where a signal ended the process
  std::string out;
  std::string err;
};

// A folder for one test, which is removed afterwards.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::vector<std::string> names() const;  // of all files in the folder, sorted

 private:
  std::filesystem::path path_;
};

// Runs `flashmla ARGUMENTS` in `folder`, with the variables ("NAME=value") added to the
// environment. Standard output and standard error are files and no terminals.
CommandResult run_command(const Folder& folder, const std::vector<std::string>& arguments,
                          const std::vector<std::string>& variables = {});

std::string contents(const std::filesystem::path& path);

// Whether the text is one line that ends with a line feed and begins with `start`.
bool is_one_line(const std::string& text, const std::string& start);

}  // namespace flashmla::tests
