/** A model's directory, as it was dropped or picked. */
export interface PickedFolder {
  dir: string
  files: Map<string, Uint8Array>
}

/** What files are called that were dropped without their directory. */
const LOOSE = 'dropped files'

/** What was dropped: a model's directory, its files, or a trace, which is one file of JSON. */
export async function droppedFiles(transfer: DataTransfer): Promise<PickedFolder | File | null> {
  // Both are empty once something was waited for.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry())
  const files = [...transfer.files]
  const directory = entries.find((entry) => entry?.isDirectory)
  if (directory) return folderOf(directory as FileSystemDirectoryEntry)
  const [first] = files
  if (files.length === 1 && first.name.endsWith('.json')) return first
  return first ? { dir: LOOSE, files: await bytesOf(files) } : null
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
