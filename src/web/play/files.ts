/** A model's directory, as it was dropped or picked. */
export interface PickedFolder {
  dir: string
  files: Map<string, Uint8Array>
}

/** What was dropped: a model's directory, or one file. */
export async function droppedFiles(transfer: DataTransfer): Promise<PickedFolder | File | null> {
  const entry = transfer.items[0]?.webkitGetAsEntry()
  if (entry?.isDirectory) return folderOf(entry as FileSystemDirectoryEntry)
  return transfer.files[0] ?? null
}

/** Files of an `<input webkitdirectory>`; folders within the folder are no part of a model. */
export async function pickedFolder(list: readonly File[]): Promise<PickedFolder | null> {
  const files = list.filter(({ webkitRelativePath: path }) => path.split('/').length === 2)
  if (files.length === 0) return null
  const [dir] = files[0].webkitRelativePath.split('/')
  return { dir, files: await bytesOf(files) }
}

async function folderOf(entry: FileSystemDirectoryEntry): Promise<PickedFolder> {
  const reader = entry.createReader()
  const files: File[] = []
  for (let part = await entriesOf(reader); part.length > 0; part = await entriesOf(reader)) {
    for (const each of part) if (each.isFile) files.push(await fileOf(each as FileSystemFileEntry))
  }
  return { dir: entry.name, files: await bytesOf(files) }
}

function entriesOf(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject))
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((resolve, reject) => entry.file(resolve, reject))
}

async function bytesOf(files: File[]): Promise<Map<string, Uint8Array>> {
  const entries = files.map(
    async (file): Promise<[string, Uint8Array]> => [file.name, new Uint8Array(await file.arrayBuffer())],
  )
  return new Map(await Promise.all(entries))
}
