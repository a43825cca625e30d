"""Arguments that are a folder: a path, or a URL of an object store."""

from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec

from samplewise.data.remote import Folder, as_folder

FolderArg = Annotated[
    Folder,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH|URL",
        instance_from_str=lambda args: as_folder(args[0]),
        is_instance=lambda value: isinstance(value, Folder),
        str_from_instance=lambda folder: [str(folder)],
    ),
]
"""A path, or a URL such as s3://bucket/corpus."""
