#include "cli/output_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
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

TEST(OutputFolder, LinksAreFollowedAndDevicesNeedNoFolder) {
  const std::string folder =
      (fs::temp_directory_path() / ("fathom-output-links-" + std::to_string(::getpid()))).string();
  fs::create_directories(folder);
  fs::create_symlink("none/new", folder + "/astray");
  fs::create_symlink("new", folder + "/dangling");
  ASSERT_EQ(::mkfifo((folder + "/pipe").c_str(), 0600), 0);
  for (const std::string& file : {folder + "/dangling", folder + "/pipe", std::string("/dev/null")})
    EXPECT_TRUE(check_output_folder(file).ok()) << file;
  EXPECT_EQ(
      check_output_folder(folder + "/astray").error().message,
      folder + "/astray: cannot be written to the folder " + folder + "/none: No such file or directory");
  fs::remove_all(folder);
}

TEST(OutputFolder, ALinkToNowhereIsThere) {
  const std::string folder =
      (fs::temp_directory_path() / ("fathom-output-there-" + std::to_string(::getpid()))).string();
  fs::create_directories(folder);
  fs::create_symlink("nowhere", folder + "/link");
  EXPECT_TRUE(check_not_there(folder + "/new").ok());
  for (const std::string& path : {folder, folder + "/", folder + "/link", folder + "/link/"})
    EXPECT_EQ(check_not_there(path).error().message, path + " is already there");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace fathom::cli
