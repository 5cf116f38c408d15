#include "cli/output_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace fathom::cli {
namespace {

namespace fs = std::filesystem;

TEST(OutputFolder, FilesGoIntoFoldersThatAreThere) {
  const std::string folder =
      (fs::temp_directory_path() / ("fathom-output-folder-" + std::to_string(::getpid()))).string();
  fs::create_directories(folder);
  std::ofstream(folder + "/old") << "text";
  EXPECT_TRUE(check_output_folder(folder + "/new").ok());
  EXPECT_TRUE(check_output_folder(folder + "/old").ok());
  EXPECT_TRUE(check_output_folder("new").ok()) << "in the working directory";
  const auto sentence = [](const std::string& file) {
    const Status status = check_output_folder(file);
    return status.ok() ? std::string() : status.error().message;
  };
  EXPECT_EQ(sentence(folder), folder + " is a directory, expected a file to write");
  EXPECT_EQ(sentence(folder + "/none/new"), folder + "/none/new: cannot be written to the folder " + folder +
                                                "/none: No such file or directory");
  EXPECT_EQ(sentence(folder + "/old/new"),
            folder + "/old/new: cannot be written to the folder " + folder + "/old: Not a directory");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace fathom::cli
