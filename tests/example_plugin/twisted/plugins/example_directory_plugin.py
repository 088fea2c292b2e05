from example_directory import DirectoryFactory

directory = DirectoryFactory()
