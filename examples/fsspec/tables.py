import fsspec
import pandas

options = {"server": "http://127.0.0.1:8080"}  # or DRAGONBELLY_URL in the environment

frame = pandas.DataFrame({"city": ["Bonn", "Ulm"], "people": [330_000, 129_000]})
frame.to_csv("dragonbelly://tables/cities.csv", index=False, storage_options=options)
frame.to_parquet("dragonbelly://tables/cities.parquet", storage_options=options)
path = "dragonbelly://tables/cities.parquet"  # only what is needed of it is fetched
print(pandas.read_parquet(path, columns=["city"], storage_options=options))

fs = fsspec.filesystem("dragonbelly", **options)
print(fs.ls("tables", detail=False), fs.cat_file("tables/cities.csv", start=-11))
with fs.open("tables/notes.txt", "w", copies=3) as file:  # there when it is closed
    file.write("each lies at a river")
fs.rm("tables/notes.txt")
