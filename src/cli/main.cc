// fathom: everything that needs no LibTorch.
#include "cli/commands.h"

int main(int argc, char** argv) {
  using namespace fathom::cli;
  return run_commands(
      "fathom", "Language models that spend compute where it is needed.",
      {
          {"batch", "the requests of a file, many at once", declare_batch},
          {"bench", "how fast a model runs, and how near to the machine's limits", declare_bench},
          {"chat", "a conversation with a model", declare_chat},
          {"compare", "training runs side by side, and a text from each", declare_compare},
          {"convert", "a checkpoint as a model directory", declare_convert},
          {"eval", "how well a model does on tasks and predicts text", declare_eval},
          {"fit", "scaling laws through the losses of training runs", declare_fit},
          {"generate", "text from a model", declare_generate},
          {"init", "a fresh model with random weights", declare_init},
          {"inspect", "list the tensors and sizes of a model directory or a file of tensors",
           declare_inspect},
          {"pack", "text as packed token files", declare_pack},
          {"plan", "print the layers of a model and what they cost", declare_plan},
          {"plot", "learning curves of training runs as a picture", declare_plot},
          {"quantize", "a model directory with int8 or int4 matrices, and what that does to the model",
           declare_quantize},
          {"tokenize", "text to token ids and back; --train learns a tokenizer", declare_tokenize},
          {"train", "train a model by a recipe", declare_train},
          {"verify", "compare with recorded cases of the published code", declare_verify},
          {"version", "print the version; --verbose adds processor and instruction sets", declare_version},
      },
      argc, argv);
}
